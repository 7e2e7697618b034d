import type { Comparison } from '../src/result/schema.js'
import { cleanLine } from './clean.js'
import { counted, formatInterval, formatNumber, formatRatio } from './format.js'
import { type ReportInput, type TargetSummary, THROUGHPUT } from './input.js'

/** The finding in one sentence: who is faster, by how much, how surely. Plain text, hostile characters removed. */
export function headline({ summary }: ReportInput): string {
  const compared = summary.comparisons.filter((row) => row.metric === THROUGHPUT && row.ratio !== null)
  const sentences = compared.length > 0 ? compared.map(comparisonSentence) : summary.targets.map(targetSentence)
  const text = sentences.length === 0 ? 'No target was measured' : sentences.join('; ')
  return cleanLine(text, 600)
}

/** What the interval is, and of what. */
export function intervalNote({ summary }: ReportInput): string {
  const row = summary.comparisons.find((entry) => entry.metric === THROUGHPUT && entry.ratio !== null)
  if (row === undefined) return ''
  if (row.ratioLow === null) return 'one block a side: no interval can be given; add repeats for one'
  return `${Math.round(row.confidence * 100)}% interval of the ratio, from ${counted(row.n, 'block')} a side; the block is the unit`
}

function comparisonSentence(row: Comparison): string {
  const ratio = [formatRatio(row.ratio), formatInterval(row.ratioLow, row.ratioHigh, formatRatio)]
    .filter(Boolean)
    .join(' ')
  if (row.verdict === 'equivalent')
    return `${row.head} and ${row.base} have equal throughput within ${row.marginPercent}%: ${ratio}`
  const inconclusive = row.verdict === 'inconclusive' ? ' (inconclusive)' : ''
  return `${row.head} gives ${ratio} the output tokens/s of ${row.base}${inconclusive}`
}

function targetSentence(target: TargetSummary): string {
  if (target.outputTokensPerSecond === null) return `${target.target}: no throughput could be measured`
  const interval = formatInterval(target.outputTokensPerSecondLow, target.outputTokensPerSecondHigh, formatNumber)
  return [`${target.target} gives ${formatNumber(target.outputTokensPerSecond)} output tokens/s`, interval]
    .filter(Boolean)
    .join(' ')
}
