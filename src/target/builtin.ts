import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Failure } from '../failure.js'
import type { TargetInfo } from '../result/schema.js'
import type { RunningTarget, TargetOptions, TargetSpec } from '../target.js'
import { packageRoot } from '../telemetry/environment.js'

/** What an engine process prints once it serves; its `info` is engines/engine.ts EngineInfo, met as JSON. */
interface Ready {
  event: 'ready'
  url: string
  pid: number
  model: string
  info: {
    kind: string
    variant: string | null
    maxModelLen: number
    weights: string
    weightsSha256: string
    dtype: string
    backend: string
    deviceName: string
    deviceUuid: string | null
    blockSize: number
    kvBytes: number
    options: Record<string, string | number | boolean | null>
    decodeWeightBytes: number
    kvBytesPerToken: number
    flopsPerToken: number
  }
}

const STOP_MS = 10_000

/** Spawns an engine process and waits for its ready line. Throws Failure('engine-failed') with the process's own last words. */
export async function startBuiltin(
  spec: TargetSpec & { kind: 'builtin' },
  options: TargetOptions,
): Promise<RunningTarget> {
  const startedMs = performance.now()
  const child = spawn(process.execPath, engineArguments(spec, options), { stdio: ['pipe', 'pipe', 'pipe'] })
  const log = collectLog(child, options.onProgress)
  const died = new AbortController()
  let stopping = false
  const exited = new Promise<void>((resolve) => {
    child.on('exit', (code, signal) => {
      if (!stopping) died.abort(`the ${spec.name} engine ended (${signal ?? `exit code ${code}`}): ${log.last()}`)
      resolve()
    })
  })
  const stop = async () => {
    stopping = true
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await exited
    clearTimeout(timer)
  }
  options.signal.addEventListener('abort', () => child.exitCode === null && ready === null && child.kill('SIGTERM'), {
    once: true,
  })
  let ready: Ready | null = null
  ready = await readyLine(child, exited, spec, log)
  return {
    info: targetInfo(spec, ready, (performance.now() - startedMs) / 1000),
    baseUrl: `${ready.url.replace(/\/+$/, '')}/v1`,
    pid: ready.pid,
    gpuUuid: ready.info.deviceUuid,
    died: died.signal,
    stop,
  }
}

function engineArguments(spec: TargetSpec & { kind: 'builtin' }, options: TargetOptions): string[] {
  const given = [...options.engineArgs, ...spec.flags]
  const batch = spec.engine === 'static' && options.concurrency !== null && !given.includes('--batch-size')
  return [
    '--max-semi-space-size=64',
    join(packageRoot(), 'dist/engines/main.js'),
    ...['--engine', spec.engine, '--port', '0', '--exit-with-parent', '--step-trace', options.stepTrace],
    ...(options.model === null ? [] : ['--model', options.model]),
    ...(batch ? ['--batch-size', String(options.concurrency)] : []),
    ...given,
  ]
}

/** The last lines of the engine's stderr, forwarded as progress. */
function collectLog(child: ChildProcess, onProgress: (line: string) => void): { last(): string } {
  const lines: string[] = []
  createInterface({ input: child.stderr! }).on('line', (line) => {
    lines.push(line)
    if (lines.length > 20) lines.shift()
    onProgress(line.replace(/^engine: /, ''))
  })
  return {
    last: () =>
      lines
        .slice(-3)
        .join(' | ')
        .replace(/engine: /g, '') || 'it said nothing',
  }
}

async function readyLine(
  child: ChildProcess,
  exited: Promise<void>,
  spec: TargetSpec,
  log: { last(): string },
): Promise<Ready> {
  const line = new Promise<Ready>((resolve) => {
    createInterface({ input: child.stdout! }).on('line', (text) => {
      const parsed = parseReady(text)
      if (parsed !== null) resolve(parsed)
    })
  })
  const gone = exited.then(async () => {
    // Let the last lines of stderr arrive.
    await new Promise((resolve) => setTimeout(resolve, 50))
    const code = child.exitCode === 2 ? 'usage' : 'engine-failed'
    throw new Failure(
      code,
      `the ${spec.name} engine did not start: ${log.last()}`,
      'bench doctor shows what is missing here',
    )
  })
  return Promise.race([line, gone])
}

function parseReady(text: string): Ready | null {
  try {
    const value = JSON.parse(text) as Ready
    return value.event === 'ready' ? value : null
  } catch {
    return null
  }
}

function targetInfo(spec: TargetSpec, { url, model, info }: Ready, startupSecs: number): TargetInfo {
  return {
    name: spec.name,
    kind: 'builtin',
    origin: new URL(url).origin,
    model,
    engine: info.variant === null ? info.kind : `${info.kind} (${info.variant})`,
    backend: info.backend,
    device: info.deviceName,
    dtype: info.dtype,
    weights: info.weights,
    weightsSha256: info.weightsSha256,
    maxModelLen: info.maxModelLen,
    kvBytes: info.kvBytes,
    blockSize: info.blockSize,
    options: info.options,
    decodeWeightBytes: info.decodeWeightBytes,
    kvBytesPerToken: info.kvBytesPerToken,
    flopsPerToken: info.flopsPerToken,
    tokenSource: 'engine ids',
    startupSecs,
  }
}
