import type { TtftSplit } from '../../src/result/schema.js'
import { cleanLine } from '../clean.js'
import { formatCount, formatNumber } from '../format.js'
import { type ReportInput, targetViews } from '../input.js'
import type { DetailTable } from './table.js'

/** The phases of TTFT in their order in time, and the colour of each. */
export const TTFT_PHASES: { part: keyof TtftSplit; label: string; color: string }[] = [
  { part: 'clientLagMs', label: 'client late', color: 'var(--late)' },
  { part: 'sendMs', label: 'send', color: 'var(--send)' },
  { part: 'queueMs', label: 'queue', color: 'var(--queue)' },
  { part: 'prefillMs', label: 'prefill', color: 'var(--prefill)' },
  { part: 'flushMs', label: 'flush and receive', color: 'var(--flush)' },
]

/** Where TTFT goes, per target: mean and percentiles of each phase; null when no target wrote a step trace. */
export function ttftTable(input: ReportInput): DetailTable | null {
  const rows = targetViews(input).flatMap(({ info, summary }) => {
    const split = summary?.ttftSplit
    if (!split) return []
    const name = cleanLine(info.name, 40)
    const { mean } = split
    const totalMs = TTFT_PHASES.reduce((sum, { part }) => sum + mean[part], 0)
    const stats = [
      ['mean', { ...mean, totalMs }],
      ['p50', split.p50],
      ['p90', split.p90],
      ['p99', split.p99],
    ] as const
    return stats.map(([stat, figures]) => [
      `${name}, ${stat}`,
      ...TTFT_PHASES.map(({ part }) => formatNumber(figures[part])),
      formatNumber(figures.totalMs),
      formatCount(split.n),
    ])
  })
  if (rows.length === 0) return null
  return {
    id: 'ttft-parts',
    title: 'Where TTFT goes',
    head: ['ms', ...TTFT_PHASES.map(({ label }) => label), 'total', 'n a block'],
    rows,
    words: [],
    notes: [
      'Total: from the instant a request was due to its first token. Client and engine read one monotonic clock, so the means add up exactly. Percentiles of the phases do not add up.',
      'Client late: sent after it was due. Send: on the wire, parsed, tokenised, handed to the engine. Queue: waiting to be scheduled. Flush and receive: detokenised, written, read by the client.',
      ...(rows.some((row) => row.includes('–'))
        ? ['A dash: too few requests in a block (p50 takes 11, p90 64, p99 662). Each figure is the mean over blocks.']
        : ['Each figure is the mean over blocks.']),
    ],
  }
}
