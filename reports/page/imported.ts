import type { ImportedResult, ToolColumn, ToolStats } from '../../src/result/schema.js'
import { cleanLine } from '../clean.js'
import { ABSENT, formatCount, formatNumber } from '../format.js'
import { type ReportInput, targetViews } from '../input.js'
import { html, type Markup, table } from '../markup.js'

/** Results of other load generators that were imported, beside this run's targets by the same definitions. Null: none. */
export function importedSection(input: ReportInput): Markup | null {
  const imported = input.run.manifest.imported ?? []
  if (imported.length === 0) return null
  const tools = [...new Set(imported.map((one) => one.tool))]
  const own = targetViews(input).flatMap(({ info, blocks }) => {
    const block = blocks.find((one) => (one.otherTools ?? []).length > 0)
    const columns = (block?.otherTools ?? []).filter((column) => tools.includes(column.tool))
    return columns.map((column) => ({ column, row: [cleanLine(info.name, 40), column.tool, ABSENT, ...cells(column)] }))
  })
  const rows = tools.flatMap((tool) => [
    ...imported.filter((one) => one.tool === tool).map((one) => [name(one), tool, count(one), ...cells(one.column)]),
    ...own.filter(({ column }) => column.tool === tool).map(({ row }) => row),
  ])
  return html`<details open><summary>Results of other tools, imported</summary>
${table(['result or target, p50 / p90 / p99', 'by', 'requests', ...HEADS], rows, [1])}
<ul class="quiet">${imported.map((one) => html`<li><b>${name(one)}</b>: ${about(one)}.</li>`)}</ul>
<p class="quiet">Each row by the tool’s own definitions. An imported result comes from another plan and another client on a machine that its file does
not name: it stands beside this run, and is not compared with it.</p></details>`
}

const HEADS = ['TTFT ms', 'TPOT ms', 'ITL ms', 'e2e ms', 'output tok/s', 'requests/s', 'total tok/s']

function cells(column: ToolColumn): string[] {
  const three = (stats: ToolStats | null) =>
    stats === null ? ABSENT : [stats.p50, stats.p90 ?? null, stats.p99].map(formatNumber).join(' / ')
  const { ttftMs, tpotMs, itlMs, e2eMs, outputTokensPerSecond, requestsPerSecond, totalTokensPerSecond } = column
  const rates = [outputTokensPerSecond, requestsPerSecond, totalTokensPerSecond ?? null]
  return [...[ttftMs, tpotMs, itlMs, e2eMs].map(three), ...rates.map(formatNumber)]
}

function name({ file, index }: ImportedResult): string {
  return `${cleanLine(file, 60)}${index === 0 ? '' : `, result ${index + 1}`}`
}

function count({ requestsOk, requestsFailed }: ImportedResult): string {
  if (requestsOk === null) return ABSENT
  return `${formatCount(requestsOk)}${requestsFailed === null || requestsFailed === 0 ? '' : ` and ${formatCount(requestsFailed)} failed`}`
}

/** Where it comes from, and whether its figures follow from its own events. */
function about({ tool, version, model, concurrency, largestDifference, disagreeing, notes }: ImportedResult): string {
  const checked =
    largestDifference === null
      ? 'not checked, as the file holds no events'
      : disagreeing.length === 0
        ? 'its figures follow from its own events, within its rounding'
        : `does NOT follow from its own events: ${disagreeing.join(', ')}`
  const parts = [
    `${tool} ${version === null ? '(release not in the file)' : cleanLine(version, 20)}`,
    `model ${model === null ? 'not in the file' : cleanLine(model, 60)}`,
    concurrency === null ? 'load not in the file' : `${formatCount(concurrency)} at a time`,
    checked,
    ...notes.map((note) => cleanLine(note)),
  ]
  return parts.join('; ')
}
