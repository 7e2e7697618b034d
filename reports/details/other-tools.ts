import type { BlockMetrics, ToolColumn, ToolStats } from '../../src/result/schema.js'
import { cleanLine } from '../clean.js'
import { ABSENT, formatNumber } from '../format.js'
import { type ReportInput, targetViews } from '../input.js'
import type { DetailTable } from './table.js'

/** The same events by the definitions of other tools, so that a published number can be set beside this run; null without a success. */
export function otherToolsTable(input: ReportInput): DetailTable | null {
  const views = targetViews(input).flatMap(({ info, blocks }) => {
    const block = blocks.find((one) => (one.otherTools ?? []).length > 0)
    return block === undefined ? [] : [{ name: cleanLine(info.name, 40), block, tools: block.otherTools! }]
  })
  if (views.length === 0) return null
  return {
    id: 'other-tools',
    title: 'As vllm bench serve, guidellm and aiperf would report it',
    head: ['p50 / p99', 'as', 'TTFT ms', 'TPOT ms', 'ITL ms', 'e2e ms', 'output tok/s'],
    rows: views.flatMap(({ name, block, tools }) => [
      [name, 'pagedbench', ...ownCells(block)],
      ...tools.map((column) => [name, column.tool, ...toolCells(column)]),
    ]),
    words: [1],
    notes: [
      'The same events of each target’s first block, by each tool’s own definitions; those tools print a p99 whatever the number of samples.',
      ...views[0]!.tools.map(
        ({ tool, how: { ttft, tpot, itl, throughput } }) =>
          `${tool}: TTFT ${ttft}; TPOT ${tpot}; ITL ${itl}; throughput ${throughput}.`,
      ),
      't0: start; tf: first token; tl: last token; N: output tokens.',
    ],
  }
}

function ownCells(block: BlockMetrics): string[] {
  return [
    pair(block.ttftMs),
    pair(block.tpotMs),
    pair(block.itlMs),
    pair(block.e2eMs),
    formatNumber(block.outputTokensPerSecond),
  ]
}

function toolCells(column: ToolColumn): string[] {
  const stats = (one: ToolStats | null) => (one === null ? ABSENT : pair(one))
  return [
    stats(column.ttftMs),
    stats(column.tpotMs),
    stats(column.itlMs),
    stats(column.e2eMs),
    formatNumber(column.outputTokensPerSecond),
  ]
}

function pair({ p50, p99 }: { p50: number | null; p99: number | null }): string {
  return `${formatNumber(p50)} / ${formatNumber(p99)}`
}
