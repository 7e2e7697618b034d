import { Failure, nearest } from './failure.js'
import type { TargetInfo } from './result/schema.js'
import { startBuiltin } from './target/builtin.js'
import { startExternal } from './target/external.js'

export { closeCacheCheck, openCacheCheck } from './target/cache-check.js'
export { engineIntegrity } from './target/engine-integrity.js'
export { probeTarget } from './target/external.js'

/** What the user named: a built-in engine with flags of its own, or a server that already runs. */
export type TargetSpec =
  | { kind: 'builtin'; name: string; engine: 'static' | 'paged'; flags: string[] }
  | { kind: 'external'; name: string; baseUrl: string }

export interface TargetOptions {
  /** --model: of the built-in engines, or which model of an external server. */
  model: string | null
  /** Engine flags of the command line, before the target's own. */
  engineArgs: readonly string[]
  /** Requests in flight in closed loop: the static engine's batch size, when none is given. */
  concurrency: number | null
  apiKey: string | null
  /** Where a built-in engine writes its step trace. */
  stepTrace: string
  onProgress(line: string): void
  signal: AbortSignal
}

/** A target that answers. */
export interface RunningTarget {
  info: TargetInfo
  /** With /v1. */
  baseUrl: string
  /** Of a built-in engine, on this host. */
  pid: number | null
  gpuUuid: string | null
  /** Aborts, with the reason, when a built-in engine's process ends by itself. */
  died: AbortSignal
  /** Ends a built-in engine (SIGTERM, then SIGKILL after 10 s); leaves an external server alone. */
  stop(): Promise<void>
}

const BUILTIN: Record<string, { engine: 'static' | 'paged'; flags: string[] }> = {
  static: { engine: 'static', flags: ['--static-variant', 'literal'] },
  'static-literal': { engine: 'static', flags: ['--static-variant', 'literal'] },
  'static-generous': { engine: 'static', flags: ['--static-variant', 'generous'] },
  paged: { engine: 'paged', flags: [] },
}

/**
 * 'static' | 'static-generous' | 'paged' | URL | 'name=URL' | 'name=paged --enforce-eager'. Throws Failure('usage').
 */
export function parseTarget(text: string): TargetSpec {
  const [, label, rest] = text.match(/^([A-Za-z0-9][\w.-]*)=(.*)$/s) ?? [null, null, text]
  const [head = '', ...flags] = rest!.trim().split(/\s+/)
  if (/^https?:\/\//.test(head)) return { kind: 'external', name: label ?? hostOf(head), baseUrl: checkedUrl(head) }
  const builtin = BUILTIN[head]
  if (builtin === undefined) {
    const guess = nearest(head, Object.keys(BUILTIN))
    throw new Failure(
      'usage',
      `no target '${head}'`,
      guess ? `did you mean '${guess}'?` : `one of ${Object.keys(BUILTIN).join(', ')}, or a base URL ending in /v1`,
    )
  }
  return { kind: 'builtin', name: label ?? head, engine: builtin.engine, flags: [...builtin.flags, ...flags] }
}

/** Targets of one run must have different names. */
export function parseTargets(texts: readonly string[]): TargetSpec[] {
  const specs = texts.map(parseTarget)
  const twice = specs.find((spec, index) => specs.findIndex((other) => other.name === spec.name) !== index)
  if (twice)
    throw new Failure(
      'usage',
      `two targets are called '${twice.name}'`,
      `name them: 'a=${twice.name} ...' 'b=${twice.name} ...'`,
    )
  return specs
}

export async function startTarget(spec: TargetSpec, options: TargetOptions): Promise<RunningTarget> {
  return spec.kind === 'builtin' ? startBuiltin(spec, options) : startExternal(spec, options)
}

function checkedUrl(text: string): string {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw new Failure('usage', `'${text}' is not a URL`, 'for example http://127.0.0.1:8000/v1')
  }
  if (url.username || url.password)
    throw new Failure('usage', 'a target URL must not carry a user or password', 'put the key into BENCH_API_KEY')
  if (/^169\.254\./.test(url.hostname))
    throw new Failure('usage', `${url.hostname} is a link-local address`, 'give the address of the server itself')
  return url.href.replace(/\/+$/, '')
}

function hostOf(text: string): string {
  return checkedUrl(text)
    .replace(/^https?:\/\//, '')
    .replace(/\/v1$/, '')
}
