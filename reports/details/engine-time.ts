import type { EngineTimePart } from '../../src/result/schema.js'
import { cleanLine } from '../clean.js'
import { formatCount, formatNumber } from '../format.js'
import { type ReportInput, targetViews } from '../input.js'
import type { DetailTable } from './table.js'

const PARTS: [EngineTimePart, string][] = [
  ['schedule', 'schedule'],
  ['launch', 'launch (FFI)'],
  ['wait', 'wait'],
  ['commit', 'commit'],
]

/** What of a step is the engine's own, not the device's, a row a block; null when no target wrote a step trace. */
export function engineTimeTable(input: ReportInput): DetailTable | null {
  const rows = targetViews(input).flatMap(({ info, blocks }) =>
    blocks.flatMap(({ block, engineTime: time }) => {
      if (!time) return []
      const { pauses, totalMs, longestMs } = time.gc
      return [
        [
          `${cleanLine(info.name, 40)}, block ${block}`,
          ...PARTS.map(([part]) => `${formatNumber(time.parts[part].p50Us)} / ${formatNumber(time.parts[part].p99Us)}`),
          formatCount(time.steps),
          pauses === 0
            ? 'none'
            : `${formatCount(pauses)}: ${formatNumber(totalMs)} ms, longest ${formatNumber(longestMs)} ms`,
        ],
      ]
    }),
  )
  if (rows.length === 0) return null
  return {
    id: 'engine-time',
    title: 'The engine’s own time per step',
    head: ['p50 / p99, µs a step', ...PARTS.map(([, label]) => label), 'steps', 'GC pauses'],
    rows,
    words: [],
    notes: [
      'Schedule: the step is planned. Launch: every FFI call that enqueues it; the CPU backend computes in these calls. Wait: blocked on the device. Commit: tokens taken, sequences updated. Pauses are garbage collections of the engine’s thread in the window.',
    ],
  }
}
