import type { BlockMetrics, ToolColumn, ToolStats, TtftSplit } from '../../src/result/schema.js'
import { cleanLine } from '../clean.js'
import { ABSENT, formatCount, formatNumber } from '../format.js'
import { type ReportInput, targetViews } from '../input.js'
import { html, type Markup, table } from '../markup.js'

const PARTS: [keyof TtftSplit, string][] = [
  ['clientLagMs', 'client late'],
  ['sendMs', 'send, accept'],
  ['queueMs', 'queue'],
  ['prefillMs', 'prefill'],
  ['flushMs', 'first flush, receive'],
]

/** Where TTFT went, per target: the engine's own stamps joined with the client's by request id. One line says why when there are none. */
export function ttftSection(input: ReportInput): Markup {
  const rows = targetViews(input).flatMap(({ info, blocks }) =>
    blocks.flatMap((block) => {
      const split = block.ttftSplit
      if (!split) return []
      const parts = PARTS.map(([part]) => formatNumber(split.mean[part]))
      const sum = PARTS.reduce((all, [part]) => all + split.mean[part], 0)
      return [[`${cleanLine(info.name, 40)}, block ${block.block}`, ...parts, formatNumber(sum), formatCount(split.n)]]
    }),
  )
  const calibration = input.summary.calibration
  return html`<h3>Where TTFT goes</h3>
${
  rows.length === 0
    ? html`<p class="quiet">Only engines that write a step trace tell it per request; this run has none.</p>`
    : html`${table(['mean, ms', ...PARTS.map(([, label]) => label), 'from due time to first token', 'requests'], rows)}
<p class="quiet">From the instant a request was due to its first token. Client and engine read one monotonic clock, so the parts add up exactly.</p>`
}
<p class="quiet">${
    calibration === null
      ? 'What the client itself adds was not measured in this run: bench calibrate does.'
      : `The client itself adds ${formatNumber(calibration.ttftAddedMsP50)} ms to TTFT (p99 ${formatNumber(calibration.ttftAddedMsP99)}) and ${formatNumber(calibration.itlAddedMsP50)} ms to ITL (p99 ${formatNumber(calibration.itlAddedMsP99)}), measured before this run against a server with a known schedule.`
  }</p>`
}

/** The same events by the definitions of other tools, so that a published number can be set beside this run. */
export function otherToolsSection(input: ReportInput): Markup | null {
  const views = targetViews(input).flatMap(({ info, blocks }) => {
    const block = blocks.find((one) => (one.otherTools ?? []).length > 0)
    return block === undefined ? [] : [{ name: cleanLine(info.name, 40), block, tools: block.otherTools! }]
  })
  if (views.length === 0) return null
  const how = views[0]!.tools.map(
    ({ tool, how: { ttft, tpot, itl, throughput } }) =>
      html`<li><b>${tool}</b>: TTFT ${ttft}; TPOT ${tpot}; ITL ${itl}; throughput ${throughput}.</li>`,
  )
  return html`<details><summary>The same events as vllm bench serve, guidellm and aiperf would report them</summary>
${table(
  ['target, p50 / p99', 'as', 'TTFT ms', 'TPOT ms', 'ITL ms', 'e2e ms', 'output tok/s'],
  views.flatMap(({ name, block, tools }) => [
    [name, 'pagedbench', ...ownCells(block)],
    ...tools.map((column) => [name, column.tool, ...toolCells(column)]),
  ]),
  [1],
)}
<ul class="quiet">${how}</ul></details>`
}

function ownCells(block: BlockMetrics): string[] {
  const pair = ({ p50, p99 }: { p50: number | null; p99: number | null }) =>
    `${formatNumber(p50)} / ${formatNumber(p99)}`
  return [
    pair(block.ttftMs),
    pair(block.tpotMs),
    pair(block.itlMs),
    pair(block.e2eMs),
    formatNumber(block.outputTokensPerSecond),
  ]
}

/** Another tool prints a p99 whatever the number of samples. */
function toolCells(column: ToolColumn): string[] {
  const pair = (stats: ToolStats | null) =>
    stats === null ? ABSENT : `${formatNumber(stats.p50)} / ${formatNumber(stats.p99)}`
  return [
    pair(column.ttftMs),
    pair(column.tpotMs),
    pair(column.itlMs),
    pair(column.e2eMs),
    formatNumber(column.outputTokensPerSecond),
  ]
}
