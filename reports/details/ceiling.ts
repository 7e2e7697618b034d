import { cleanLine } from '../clean.js'
import { formatCount, formatNumber, formatShare, formatSpan } from '../format.js'
import { type ReportInput, targetViews } from '../input.js'
import type { DetailTable } from './table.js'

/** Whole requests/s that server and machine pass at all, beside what the run asked; null when not measured. */
export function ceilingTable(input: ReportInput): DetailTable | null {
  const ceilings = input.run.manifest.requestCeilings ?? []
  if (ceilings.length === 0) return null
  const views = targetViews(input)
  return {
    id: 'request-ceiling',
    title: 'How many requests per second can pass at all',
    head: ['driven', 'requests/s', 'p50 ms', 'p99 ms', 'failed', 'connections', 'this run, requests/s', 'share'],
    rows: ceilings.map((ceiling) => {
      const blocks = views.find(({ info }) => info.name === ceiling.target)?.blocks ?? []
      return [
        ceiling.target === null ? 'null server (does nothing)' : cleanLine(ceiling.target, 40),
        formatNumber(ceiling.requestsPerSecond),
        formatNumber(ceiling.latencyP50Ms),
        formatNumber(ceiling.latencyP99Ms),
        formatCount(ceiling.failures),
        formatCount(ceiling.connections),
        formatSpan(
          blocks.map((block) => block.requestsPerSecond),
          formatNumber,
        ),
        formatSpan(
          blocks.map((block) => block.shareOfRequestCeiling ?? null),
          formatShare,
        ),
      ]
    }),
    words: [],
    notes: [
      'Whole, non-streamed completions of one token, sent by autocannon as fast as they are answered, after each target’s first block. The null server is the client’s own limit on this machine.',
    ],
  }
}
