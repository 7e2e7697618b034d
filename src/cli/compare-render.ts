import Table from 'cli-table3'
import type { Comparison } from '../result/schema.js'
import { GATED } from '../statistics/policies.js'
import type { CompareResult } from './compare.js'

export const COMPARE_FORMATS = ['table', 'json', 'markdown', 'junit'] as const
export type CompareFormat = (typeof COMPARE_FORMATS)[number]

export function renderComparison(result: CompareResult, format: CompareFormat): string {
  if (format === 'json') return `${JSON.stringify(result, null, 2)}\n`
  if (format === 'junit') return junit(result)
  if (format === 'markdown') return markdown(result)
  return table(result)
}

function table(result: CompareResult): string {
  const view = new Table({
    head: ['', 'base', 'head', 'change [90 % CI]', 'verdict', 'n', 'p'],
    style: { head: [], border: [] },
  })
  for (const row of result.rows) view.push(cells(row))
  return [headline(result), view.toString(), ...footnotes(result), ''].join('\n')
}

function markdown(result: CompareResult): string {
  const rows = result.rows.map((row) => `| ${cells(row).join(' | ')} |`)
  const head = '| metric | base | head | change [90 % CI] | verdict | n | p |\n|---|---|---|---|---|---|---|'
  return [
    '<!-- pagedbench-compare -->',
    `**${headline(result)}**`,
    '',
    head,
    ...rows,
    '',
    ...footnotes(result),
    '',
  ].join('\n')
}

/** One test case per metric: a regression fails, an inconclusive one is skipped with its reason. */
function junit(result: CompareResult): string {
  const gated = result.rows.filter((row) => GATED.has(row.metric))
  const cases = gated.map((row) => {
    const name = escapeXml(`${row.base.replace(/ \(base\)$/, '')}: ${row.metric}`)
    const text = escapeXml(`${change(row)}, ${row.verdict}${row.note ? `: ${row.note}` : ''}`)
    if (row.verdict === 'regressed') return `    <testcase name="${name}"><failure message="${text}"/></testcase>`
    if (row.verdict === 'improved' || row.verdict === 'equivalent') return `    <testcase name="${name}"/>`
    return `    <testcase name="${name}"><skipped message="${text}"/></testcase>`
  })
  const failures = gated.filter((row) => row.verdict === 'regressed').length
  const skipped = gated.filter((row) => !['regressed', 'improved', 'equivalent'].includes(row.verdict)).length
  return (
    `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n  <testsuite name="bench compare" tests="${gated.length}" failures="${failures}" skipped="${skipped}">\n` +
    `${cases.join('\n')}\n  </testsuite>\n</testsuites>\n`
  )
}

function headline(result: CompareResult): string {
  const gated = result.rows.filter((row) => GATED.has(row.metric))
  const of = (verdict: Comparison['verdict']) => gated.filter((row) => row.verdict === verdict)
  if (of('incomparable').length > 0) return `incomparable: ${result.obstacles.join('; ')}`
  if (of('regressed').length > 0)
    return `REGRESSED: ${of('regressed')
      .map((row) => `${row.metric} ${change(row)}`)
      .join('; ')}`
  const open = [...of('inconclusive'), ...of('single-run')]
  if (open.length > 0) return `inconclusive: ${open.map((row) => row.metric).join(', ')}`
  return of('improved').length > 0
    ? `improved: ${of('improved')
        .map((row) => `${row.metric} ${change(row)}`)
        .join('; ')}`
    : 'no regression: every gated metric is equivalent within its margin'
}

function cells(row: Comparison): string[] {
  return [
    `${GATED.has(row.metric) ? '' : '· '}${row.metric}${row.unit ? ` (${row.unit})` : ''}`,
    figure(row.baseValue),
    figure(row.headValue),
    change(row),
    row.verdict === 'inconclusive' ? `~ ${row.note ?? ''}` : row.verdict,
    String(row.n),
    row.p === null ? '-' : row.p.toFixed(3),
  ]
}

function footnotes(result: CompareResult): string[] {
  const notes = [
    '· information only, not gated. Failing to prove a regression is not proof of equivalence: only `equivalent` claims that.',
  ]
  if (result.obstacles.length > 0) notes.push(...result.obstacles.map((obstacle) => `! ${obstacle}`))
  return notes
}

function change(row: Comparison): string {
  if (row.ratio === null) return '-'
  const percent = (ratio: number) => `${ratio >= 1 ? '+' : ''}${(100 * (ratio - 1)).toFixed(1)} %`
  return row.ratioLow === null || row.ratioHigh === null
    ? percent(row.ratio)
    : `${percent(row.ratio)} [${percent(row.ratioLow)}, ${percent(row.ratioHigh)}]`
}

function figure(value: number | null): string {
  if (value === null) return '-'
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(Math.abs(value) >= 1 ? 2 : 4)
}

function escapeXml(text: string): string {
  return text.replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
