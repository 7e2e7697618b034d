import type { BlockMetrics, Distribution } from '../src/result/schema.js'
import { cleanLine } from './clean.js'
import { clientShare } from './client.js'
import { ABSENT, formatCount, formatInterval, formatNumber, formatRatio, formatShare, formatSpan } from './format.js'
import { type ReportInput, type TargetView, targetViews } from './input.js'

/** The comparison as plain text cells: metrics down, targets across. Terminal, Markdown and HTML draw the same table. */
export interface ComparisonTable {
  targets: string[]
  rows: TableRow[]
  /** Why a cell has no figure, one line each. */
  footnotes: string[]
}

export interface TableRow {
  label: string
  /** Spelled out for those who do not know the abbreviation. */
  meaning: string
  better: 'higher' | 'lower' | null
  cells: string[]
}

export function comparisonTable(input: ReportInput): ComparisonTable {
  const views = targetViews(input)
  const row = (
    label: string,
    meaning: string,
    better: TableRow['better'],
    cell: (view: TargetView) => string,
  ): TableRow => ({
    label,
    meaning,
    better,
    cells: views.map((view) => cleanLine(cell(view), 60)),
  })
  const client = clientShare(input)
  const base = views[0]?.info.name ?? ''
  const rows = [
    row('output tok/s', 'output tokens per second in the steady window', 'higher', throughput),
    row('share of the limit', 'throughput over what the device’s measured ceilings allow', 'higher', (view) =>
      formatShare(view.summary?.shareOfLimit ?? null),
    ),
    row(
      `ratio to ${cleanLine(base, 24)}`,
      'throughput over the first target’s, with its interval',
      'higher',
      ratioCell,
    ),
    row('TTFT p50 / p99 ms', 'time to first token', 'lower', (view) =>
      pair(view.summary?.ttftP50Ms, view.summary?.ttftP99Ms),
    ),
    row('ITL p50 / p99 ms', 'inter-token latency', 'lower', (view) =>
      pair(view.summary?.itlP50Ms, view.summary?.itlP99Ms),
    ),
    row('client adds TTFT / ITL ms', 'the client’s own part of both, p50, from its calibration', 'lower', () =>
      client.ttft === null ? 'not measured' : `${client.ttft} / ${client.itl}`,
    ),
    row('TPOT p50 ms', 'time per output token after the first, per request', 'lower', (view) =>
      formatNumber(view.summary?.tpotP50Ms ?? null),
    ),
    row('e2e p50 ms', 'whole-request latency', 'lower', (view) => formatNumber(view.summary?.e2eP50Ms ?? null)),
    row('errors', 'requests that did not complete', 'lower', errors),
    row('padding share', 'computed tokens that were padding or finished rows', 'lower', (view) =>
      span(view, (block) => block.paddedShare),
    ),
    row('validity', 'whether the figures count', null, (view) => view.summary?.verdict.validity ?? ABSENT),
  ]
  return {
    targets: views.map((view) => cleanLine(view.info.name, 40)),
    rows: views.length > 1 ? rows : rows.filter((entry) => !entry.label.startsWith('ratio')),
    footnotes: [...footnotes(views), ...(client.ttft === null ? [client.sentence] : [])],
  }
}

function throughput({ summary }: TargetView): string {
  if (summary === null) return ABSENT
  const interval = formatInterval(summary.outputTokensPerSecondLow, summary.outputTokensPerSecondHigh, formatNumber)
  return `${formatNumber(summary.outputTokensPerSecond)} ${interval}`
}

function ratioCell({ throughput: row }: TargetView): string {
  if (row === null) return 'base'
  return `${formatRatio(row.ratio)} ${formatInterval(row.ratioLow, row.ratioHigh, formatRatio)}`
}

const pair = (p50: number | null = null, p99: number | null = null): string =>
  `${formatNumber(p50)} / ${formatNumber(p99)}`

function errors({ blocks }: TargetView): string {
  const failed = blocks.reduce((sum, block) => sum + block.requestsFailed, 0)
  const all = blocks.reduce((sum, block) => sum + block.requestsFailed + block.requestsOk, 0)
  return `${formatCount(failed)} of ${formatCount(all)}`
}

const span = (view: TargetView, pick: (block: BlockMetrics) => number | null): string =>
  formatSpan(view.blocks.map(pick), formatShare)

/** A dash always has its reason: the samples a percentile would need, the ceiling that was not measured, the missing trace. */
function footnotes(views: readonly TargetView[]): string[] {
  const reasons = new Map<string, Set<string>>()
  const add = (reason: string, who: string) => reasons.set(reason, (reasons.get(reason) ?? new Set()).add(who))
  for (const { info, blocks } of views) {
    const name = cleanLine(info.name, 40)
    for (const block of blocks) {
      for (const [label, distribution] of percentiles(block)) {
        const needed = distribution.floors['p99']
        if (needed !== undefined && distribution.n > 0)
          add(
            `${label} p99 needs ${formatCount(needed)} completed requests a block`,
            `${name} has ${formatCount(block.requestsOk)}`,
          )
      }
      if (block.limitTokensPerSecond === null) add('share of the limit needs measured ceilings and known sizes', name)
      if (block.paddedShare === null) add('padding share needs a step trace', `${name} writes none`)
    }
    if (blocks.length === 1) add('an interval needs two blocks', `${name} has one`)
  }
  return [...reasons].map(([reason, who]) => `${reason}: ${[...who].join(', ')}`)
}

const percentiles = (block: BlockMetrics): [string, Distribution][] => [
  ['TTFT', block.ttftMs],
  ['ITL', block.itlMs],
]
