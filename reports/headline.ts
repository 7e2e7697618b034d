import type { Comparison } from '../src/result/schema.js'
import { cleanLine } from './clean.js'
import { counted, formatInterval, formatNumber, formatRatio } from './format.js'
import { type ReportInput, type TargetSummary, THROUGHPUT } from './input.js'

/**
 * The finding in one sentence: who is faster, by how much, how surely; a run that does not count says so first.
 * Plain text, hostile characters removed.
 */
export function headline({ summary }: ReportInput): string {
  const { validity } = summary.verdict
  const counts = validity === 'VALID' ? '' : `${validity}: `
  const compared = summary.comparisons.filter((row) => row.metric === THROUGHPUT && row.ratio !== null)
  const finding =
    compared.length > 0
      ? comparedText(compared)
      : summary.targets.length > 0
        ? summary.targets.map(targetSentence).join('; ')
        : 'no target was measured'
  return cleanLine(counts + finding, 600)
}

/** What the interval is, and of what. */
export function intervalNote({ summary }: ReportInput): string {
  const row = summary.comparisons.find((entry) => entry.metric === THROUGHPUT && entry.ratio !== null)
  if (row === undefined) return ''
  if (row.ratioLow === null) return 'one block a side: no interval can be given; add repeats for one'
  return `${Math.round(row.confidence * 100)}% interval of the ratio, from ${counted(row.n, 'block')} a side; the block is the unit`
}

/** Heads of one base share a sentence; equal ones get their own. */
function comparedText(rows: readonly Comparison[]): string {
  const equal = rows.filter((row) => row.verdict === 'equivalent')
  const different = rows.filter((row) => row.verdict !== 'equivalent')
  const factors = different.map((row, index) => {
    const inconclusive = row.verdict === 'inconclusive' ? ' (inconclusive)' : ''
    return `${row.head} ${index === 0 ? 'gives ' : ''}${ratioText(row)}${inconclusive}`
  })
  const sentences = equal.map(
    (row) => `${row.head} and ${row.base} have equal throughput within ${row.marginPercent}%: ${ratioText(row)}`,
  )
  if (factors.length > 0) sentences.unshift(`${factors.join(', ')} the output tokens/s of ${different[0]!.base}`)
  return sentences.join('; ')
}

const ratioText = (row: Comparison): string =>
  [formatRatio(row.ratio), formatInterval(row.ratioLow, row.ratioHigh, formatRatio)].filter(Boolean).join(' ')

function targetSentence(target: TargetSummary): string {
  if (target.outputTokensPerSecond === null) return `${target.target}: no throughput could be measured`
  const interval = formatInterval(target.outputTokensPerSecondLow, target.outputTokensPerSecondHigh, formatNumber)
  return [`${target.target} gives ${formatNumber(target.outputTokensPerSecond)} output tokens/s`, interval]
    .filter(Boolean)
    .join(' ')
}
