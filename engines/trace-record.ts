import type { FinishReason } from './engine.js'

/**
 * Step trace: JSON lines the engine writes to --step-trace FILE, read by the harness (src/result). tNs are CLOCK_MONOTONIC ns.
 *   {"kind":"step","n","tNs","durationNs","rows","prefillTokens","decodeTokens","paddedTokens","running","waiting","kvBlocksUsed","kvBlocksTotal","preemptions","cachedTokens","scheduleNs","launchNs","waitNs","commitNs"}
 *   {"kind":"request","id","clientId","arrivalNs","scheduledNs","firstTokenNs","finishedNs","releasedNs","promptTokens","outputTokens","cachedTokens","preemptions","wastedTokens","finishReason"}
 *     (scheduleNs: planning; launchNs: every FFI call that enqueues it; waitNs: blocked on the device; commitNs: tokens taken, sequences updated)
 *     (preemptions and cachedTokens of a step are that step's own; a sum over steps is the total)
 *     finishedNs: its own last useful token; releasedNs: when its row left the batch (static: the batch's end); wastedTokens: rows computed for it after its end plus its padding.
 *   {"kind":"batch","n","startNs","endNs","rows","longestPrompt","longestOutput"}            static only
 *   {"kind":"gc","tNs","durationNs"}  garbage-collection pauses of the worker
 */
export type StepTraceRecord =
  | {
      kind: 'step'
      n: number
      tNs: number
      durationNs: number
      rows: number
      prefillTokens: number
      decodeTokens: number
      paddedTokens: number
      running: number
      waiting: number
      kvBlocksUsed: number
      kvBlocksTotal: number
      preemptions: number
      cachedTokens: number
      scheduleNs: number
      launchNs?: number
      waitNs?: number
      commitNs?: number
    }
  | {
      kind: 'request'
      id: string
      clientId: string
      arrivalNs: number
      scheduledNs: number
      firstTokenNs: number
      finishedNs: number
      releasedNs: number
      promptTokens: number
      outputTokens: number
      cachedTokens: number
      preemptions: number
      wastedTokens: number
      finishReason: FinishReason
    }
  | {
      kind: 'batch'
      n: number
      startNs: number
      endNs: number
      rows: number
      longestPrompt: number
      longestOutput: number
    }
  | { kind: 'gc'; tNs: number; durationNs: number }
