import type { EngineTime } from '../result/schema.js'
import type { GcTrace, StepRecord, StepTraceRecord } from '../result/trace.js'
import { distributionOf } from './distribution.js'
import type { Window } from './window.js'

/** What the engine's thread did with the window's steps, from its trace; null without one. Percentiles keep their sample floors. */
export function engineTime(trace: readonly StepTraceRecord[], window: Window): EngineTime | null {
  const inside = ({ tNs }: { tNs: number }) => tNs >= window.startNs && tNs <= window.endNs
  const steps = trace.filter((entry): entry is StepRecord => entry.kind === 'step' && inside(entry))
  if (steps.length === 0) return null
  const pausesMs = trace
    .filter((entry): entry is GcTrace => entry.kind === 'gc' && inside(entry))
    .map((pause) => pause.durationNs / 1e6)
  const part = (pick: (step: StepRecord) => number | undefined) => {
    const known = steps.map(pick).filter((ns) => ns !== undefined)
    const { p50, p99 } = distributionOf(known.map((ns) => ns / 1000))
    return { p50Us: p50, p99Us: p99 }
  }
  return {
    steps: steps.length,
    parts: {
      schedule: part((step) => step.scheduleNs),
      launch: part((step) => step.launchNs),
      wait: part((step) => step.waitNs),
      commit: part((step) => step.commitNs),
    },
    gc: {
      pauses: pausesMs.length,
      totalMs: pausesMs.reduce((sum, pause) => sum + pause, 0),
      longestMs: pausesMs.reduce((longest, pause) => Math.max(longest, pause), 0),
    },
  }
}
