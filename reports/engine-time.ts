import type { EngineTimePart } from '../src/result/schema.js'
import { cleanLine } from './clean.js'
import { formatCount, formatNumber } from './format.js'
import { type ReportInput, targetViews } from './input.js'

const PARTS: [EngineTimePart, string][] = [
  ['schedule', 'schedule'],
  ['launch', 'launch (FFI)'],
  ['wait', 'wait'],
  ['commit', 'commit'],
]

export const ENGINE_TIME_NOTE =
  'Schedule: the step is planned. Launch: every FFI call that enqueues it; the CPU backend computes in these calls. Wait: blocked on the device. Commit: tokens taken, sequences updated. Pauses are garbage collections of the engine’s thread in the window.'

/** The engine's own time per step, a row a block, as plain text; null when no target wrote a step trace. HTML, Markdown and the terminal draw it. */
export function engineTimeTable(input: ReportInput): { head: string[]; rows: string[][] } | null {
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
  const head = ['p50 / p99, µs a step', ...PARTS.map(([, label]) => label), 'steps', 'GC pauses']
  return rows.length === 0 ? null : { head, rows }
}
