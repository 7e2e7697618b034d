import type { RequestRecord } from '../result/schema.js'
import type { Plan } from '../scenario/plan.js'
import type { Scenario } from '../scenario/types.js'

/** Where and how the load goes. */
export interface LoadTarget {
  /** As the user gave it, with /v1. */
  baseUrl: string
  apiKey: string | null
  api: 'completions' | 'chat'
  model: string
  /** Ask for token ids in the stream: built-in engines. */
  returnTokenIds?: boolean
  continuousUsage?: boolean
  /** Aborts when the target's process has died: what is in flight or unsent ends as 'target-died', its reason as detail. */
  died?: AbortSignal
}

export interface LoadProgress {
  planned: number
  sent: number
  done: number
  failed: number
  dropped: number
  inFlight: number
  /** Output tokens received since the start, and over the last reporting interval per second. */
  tokens: number
  tokensPerSecond: number
  phase: 'warmup' | 'measure'
  elapsedSecs: number
}

export interface LoadOptions {
  plan: Plan
  scenario: Scenario
  target: LoadTarget
  /** Ctrl-C: what is in flight ends as 'cancelled', its partial record kept. Aborted with a text: the load ends early for that reason. */
  signal?: AbortSignal
  onRecord?(record: RequestRecord): void
  onProgress?(progress: LoadProgress): void
  /** Keep token ids or text of every answer. */
  keepOutput?: boolean
  /** Default: a quarter of the cores, 1 to 4. */
  workers?: number
  /** Makes prompts unlike those of other runs under cache policies cold and shared; default random. */
  salt?: string
}
