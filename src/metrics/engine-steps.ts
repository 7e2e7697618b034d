import type { StepRecord, StepTraceRecord } from '../result/trace.js'
import { nearestRank } from './distribution.js'
import type { Window } from './window.js'

/** What the step trace of a built-in engine says of the window; all null without a trace. */
export interface EngineMetrics {
  /** Computed tokens that were padding or belonged to finished rows / all computed tokens. */
  paddedShare: number | null
  preemptions: number | null
  /** Most KV blocks in use / blocks there are. */
  kvPeakShare: number | null
  /** Prompt tokens found in the prefix cache / prompt tokens of the requests that finished. */
  prefixHitShare: number | null
  /** Rows per step, weighted by the step's duration. */
  meanBatchRows: number | null
  scheduleUsP50: number | null
  scheduleUsP99: number | null
}

export function engineMetrics(trace: readonly StepTraceRecord[], window: Window): EngineMetrics {
  const steps = trace.filter(
    (r): r is StepRecord => r.kind === 'step' && r.tNs >= window.startNs && r.tNs <= window.endNs,
  )
  if (steps.length === 0) {
    return {
      paddedShare: null,
      preemptions: null,
      kvPeakShare: null,
      prefixHitShare: null,
      meanBatchRows: null,
      scheduleUsP50: null,
      scheduleUsP99: null,
    }
  }
  const sum = (pick: (step: StepRecord) => number) => steps.reduce((total, step) => total + pick(step), 0)
  const computed = sum((step) => step.prefillTokens + step.decodeTokens + step.paddedTokens)
  const durationNs = sum((step) => step.durationNs)
  const scheduleUs = steps.map((step) => step.scheduleNs / 1000)
  return {
    paddedShare: computed === 0 ? null : sum((step) => step.paddedTokens) / computed,
    preemptions: preemptionsIn(steps),
    kvPeakShare: steps.reduce((peak, step) => Math.max(peak, step.kvBlocksUsed / Math.max(1, step.kvBlocksTotal)), 0),
    prefixHitShare: prefixHitShare(trace, window),
    meanBatchRows: durationNs === 0 ? null : sum((step) => step.rows * step.durationNs) / durationNs,
    scheduleUsP50: nearestRank(scheduleUs, 50),
    scheduleUsP99: nearestRank(scheduleUs, 99),
  }
}

/** The trace's counter runs since the engine's start. */
function preemptionsIn(steps: readonly StepRecord[]): number {
  return steps.at(-1)!.preemptions - steps[0]!.preemptions
}

function prefixHitShare(trace: readonly StepTraceRecord[], window: Window): number | null {
  let cached = 0
  let prompt = 0
  for (const record of trace) {
    if (record.kind !== 'request' || record.scheduledNs < window.startNs || record.scheduledNs > window.endNs) continue
    cached += record.cachedTokens
    prompt += record.promptTokens
  }
  return prompt === 0 ? null : cached / prompt
}
