import { describe, expect, it } from 'vitest'
import { engineTime } from '../../src/metrics/engine-time.js'
import type { StepRecord, StepTraceRecord } from '../../src/result/trace.js'

const step = (n: number, change: Partial<StepRecord> = {}): StepRecord => ({
  kind: 'step',
  n,
  tNs: n * 1e6,
  durationNs: 9e5,
  rows: 4,
  ...{ prefillTokens: 0, decodeTokens: 4, paddedTokens: 0, running: 4, waiting: 0 },
  ...{ kvBlocksUsed: 8, kvBlocksTotal: 64, preemptions: 0, cachedTokens: 0, scheduleNs: n * 1000 },
  ...change,
})
const window = { startNs: 1e6, endNs: 100e6, secs: 0.099, how: 'test' }

describe('the engine’s own time', () => {
  it('takes the steps and pauses of the window, in microseconds and milliseconds', () => {
    const trace: StepTraceRecord[] = [
      ...Array.from({ length: 200 }, (_, n) => step(n, { launchNs: 5000, waitNs: n * 2000, commitNs: 250 })),
      { kind: 'gc', tNs: 2e6, durationNs: 3e6 },
      { kind: 'gc', tNs: 50e6, durationNs: 1e6 },
      { kind: 'gc', tNs: 150e6, durationNs: 90e6 },
    ]
    expect(engineTime(trace, window)).toEqual({
      steps: 100,
      parts: {
        schedule: { p50Us: 50, p99Us: null },
        launch: { p50Us: 5, p99Us: null },
        wait: { p50Us: 100, p99Us: null },
        commit: { p50Us: 0.25, p99Us: null },
      },
      gc: { pauses: 2, totalMs: 4, longestMs: 3 },
    })
  })

  it('has a p99 from 662 steps on, and knows only planning in a trace of before', () => {
    const trace = Array.from({ length: 1000 }, (_, n) => step(n, { tNs: 2e6 }))
    const time = engineTime(trace, window)!
    expect(time.parts.schedule).toEqual({ p50Us: 499, p99Us: 989 })
    expect(time.parts.launch).toEqual({ p50Us: null, p99Us: null })
  })

  it('is unknown without a step', () => {
    expect(engineTime([{ kind: 'gc', tNs: 2e6, durationNs: 1 }], window)).toBeNull()
  })
})
