/**
 * The engine's step trace as the harness reads it: one JSON object a line, written by the engine process itself, times in
 * CLOCK_MONOTONIC ns. The harness never imports engines/, so the shape is stated twice; test/result/trace.test.ts holds them equal.
 */
export type StepTraceRecord = StepRecord | RequestTrace | BatchTrace | GcTrace

export interface StepRecord {
  kind: 'step'
  n: number
  tNs: number
  durationNs: number
  rows: number
  prefillTokens: number
  decodeTokens: number
  /** Computed for nothing: padding and finished rows. */
  paddedTokens: number
  running: number
  waiting: number
  kvBlocksUsed: number
  kvBlocksTotal: number
  preemptions: number
  cachedTokens: number
  scheduleNs: number
  /** FFI calls that enqueue the step; on a backend that computes in the call, the computation too. Absent in traces of before. */
  launchNs?: number
  /** Blocked on the device for its result. */
  waitNs?: number
  /** Tokens taken, sequences updated. */
  commitNs?: number
}

export interface RequestTrace {
  kind: 'request'
  id: string
  /** The x-request-id of the client: joins RequestRecord.requestId. */
  clientId: string
  arrivalNs: number
  scheduledNs: number
  firstTokenNs: number
  /** Its own last useful token. */
  finishedNs: number
  /** When its row left the batch; in a static batch, the batch's end. */
  releasedNs: number
  promptTokens: number
  outputTokens: number
  cachedTokens: number
  preemptions: number
  wastedTokens: number
  finishReason: 'stop' | 'length' | 'abort' | 'error'
}

export interface BatchTrace {
  kind: 'batch'
  n: number
  startNs: number
  endNs: number
  rows: number
  longestPrompt: number
  longestOutput: number
}

export interface GcTrace {
  kind: 'gc'
  tNs: number
  durationNs: number
}
