/** What a conformance case may ask of a server before it starts. */
export interface TargetOptions {
  apiKey?: string
  allowedOrigins?: string[]
  allowedHosts?: string[]
  openMetrics?: boolean
  maxQueue?: number
  maxBodyBytes?: number
  pingSecs?: number
  /** Tokens the KV cache holds at most (rounded up by engines with blocks). */
  kvTokens?: number
  /** Milliseconds a scripted engine waits between steps; real engines take their time anyway. */
  stepMs?: number
}

/** A running server under test: reached over HTTP only. */
export interface Target {
  url: string
  port: number
  model: string
  maxModelLen: number
  vocabSize: number
  /** The scripted engine's controls; null for a real engine. */
  script: { kill(): void; resume(): void; pause(): void } | null
  /** Sequences share one KV pool, which may be smaller than the context. */
  pooledKv: boolean
  close(): Promise<void>
}

export type StartTarget = (options?: TargetOptions) => Promise<Target>
