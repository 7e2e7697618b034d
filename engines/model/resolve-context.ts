import { cacheDirectory } from './cache.js'

/** What resolving a model may use. */
export interface ResolveContext {
  cacheDirectory: string
  /** HF_ENDPOINT; null: the hub's own address. */
  hubUrl: string | null
  /** HF_TOKEN. */
  token: string | null
  /** HF_HUB_OFFLINE: only the cache. */
  offline: boolean
  /** Until the hub's first answer. */
  connectTimeoutMs: number
  /** Without a byte. */
  idleTimeoutMs: number
  /** One line for the user, on stderr. */
  progress: (line: string) => void
}

/** From the environment; progress goes to stderr. */
export function resolveContext(environment: NodeJS.ProcessEnv = process.env): ResolveContext {
  const { HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE } = environment
  return {
    cacheDirectory: cacheDirectory(environment),
    hubUrl: HF_ENDPOINT ? HF_ENDPOINT.replace(/\/+$/, '') : null,
    token: HF_TOKEN || null,
    offline: HF_HUB_OFFLINE === '1' || HF_HUB_OFFLINE === 'true',
    connectTimeoutMs: 10_000,
    idleTimeoutMs: 30_000,
    progress: (line) => process.stderr.write(`${line}\n`),
  }
}
