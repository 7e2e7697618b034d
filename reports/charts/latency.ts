import type { BlockMetrics, Distribution } from '../../src/result/schema.js'
import { cleanLine } from '../clean.js'
import { clientShare } from '../client.js'
import { formatNumber, formatSpan } from '../format.js'
import { type ReportInput, type TargetSummary, type TargetView, targetViews } from '../input.js'
import { type Chart, type ChartSpec, FULL_WIDTH, rounded, targetColor, targetHue, withTheme } from './chart.js'

interface Panel {
  label: string
  name: string
  p50: (summary: TargetSummary) => number | null
  distribution: (block: BlockMetrics) => Distribution
}

const PANELS: Panel[] = [
  {
    label: 'TTFT',
    name: 'time to first token',
    p50: (summary) => summary.ttftP50Ms,
    distribution: (block) => block.ttftMs,
  },
  {
    label: 'ITL',
    name: 'inter-token latency',
    p50: (summary) => summary.itlP50Ms,
    distribution: (block) => block.itlMs,
  },
  {
    label: 'TPOT',
    name: 'time per output token',
    p50: (summary) => summary.tpotP50Ms,
    distribution: (block) => block.tpotMs,
  },
  { label: 'e2e', name: 'whole request', p50: (summary) => summary.e2eP50Ms, distribution: (block) => block.e2eMs },
]

/** Percentiles above the median, highest first: the first that has its samples in a block is drawn. */
const TAILS = ['p99', 'p95', 'p90', 'p75'] as const

/** Four panels: the median per target as a bar, each block's median as a dot and its highest printable percentile as a ring. */
export function latencyChart(input: ReportInput): Chart | null {
  const views = targetViews(input)
  const client = clientShare(input)
  if (views.every((view) => view.summary?.e2eP50Ms == null)) return null
  return {
    id: 'latency',
    title: latencyFinding(views),
    note: `Milliseconds per metric, each panel from zero on its own scale. Bar: median (mean over blocks); dot: a block’s median; ring: its highest percentile that has enough samples (${tailsShown(views)}). Of TTFT and ITL, ${client.ttft === null ? 'an amount that was not measured is' : `${client.ttft} and ${client.itl} ms are`} the client’s own. Lower is better.`,
    legend: views.map((view, index) => ({
      label: cleanLine(view.info.name, 40),
      color: targetHue(index),
      series: null,
    })),
    readout: null,
    table: {
      head: ['target', ...PANELS.flatMap(({ label }) => [`${label} p50 ms`, `${label} tail ms`])],
      rows: views.map((view) => [
        cleanLine(view.info.name, 40),
        ...PANELS.flatMap((panel) => [
          formatNumber(view.summary === null ? null : panel.p50(view.summary)),
          formatSpan(
            view.blocks.map((block) => tailOf(panel.distribution(block))?.value ?? null),
            formatNumber,
          ),
        ]),
      ]),
    },
    spec: withTheme({
      hconcat: PANELS.map((panel, column) => panelSpec(panel, views, column)),
      spacing: 26,
    }),
  }
}

function panelSpec(panel: Panel, views: readonly TargetView[], column: number): ChartSpec {
  const bars = views.flatMap(({ summary, info }, index) => {
    const value = summary === null ? null : panel.p50(summary)
    return value === null
      ? []
      : [{ s: `t${index}`, target: cleanLine(info.name, 28), value: rounded(value), label: formatNumber(value) }]
  })
  const points = views.flatMap(({ blocks, info }, index) =>
    blocks.flatMap((block) => {
      const distribution = panel.distribution(block)
      const tail = tailOf(distribution)
      const row = (which: string, value: number | null) =>
        value === null
          ? []
          : [{ s: `t${index}`, target: cleanLine(info.name, 28), block: block.block, which, value: rounded(value) }]
      return [...row('p50', distribution.p50), ...row(tail?.name ?? '', tail?.value ?? null)]
    }),
  )
  const axis =
    column === 0 ? { labelFontSize: 12, labelColor: 'var(--fg)', maxExtent: 100, minExtent: 60, labelLimit: 100 } : null
  const y = { field: 'target', type: 'nominal', sort: null, title: null, axis }
  const x = { field: 'value', type: 'quantitative', title: `${panel.label}, ms`, axis: { grid: true, tickCount: 3 } }
  const tooltip = [
    { field: 'target' },
    { field: 'block' },
    { field: 'which', title: 'percentile' },
    { field: 'value', title: 'ms' },
  ]
  return {
    width: (FULL_WIDTH - 150) / PANELS.length,
    height: { step: 42 },
    title: { text: panel.label, subtitle: panel.name, subtitleFontSize: 11 },
    layer: [
      {
        data: { name: `${panel.label} p50`, values: bars },
        mark: { type: 'bar', height: 18, cornerRadiusEnd: 3, aria: false },
        encoding: {
          y,
          x,
          color: targetColor(views.length),
          tooltip: [{ field: 'target' }, { field: 'label', title: 'p50, ms' }],
        },
      },
      {
        data: { name: `${panel.label} blocks`, values: points },
        transform: [{ calculate: "datum.which == 'p50'", as: 'median' }],
        mark: { type: 'point', size: 26, strokeWidth: 1.4, opacity: 1, aria: false },
        encoding: {
          y,
          x,
          tooltip,
          stroke: { value: 'var(--fg)' },
          fill: { condition: { test: 'datum.median', value: 'var(--fg)' }, value: 'transparent' },
        },
      },
      {
        data: { name: `${panel.label} label`, values: bars },
        mark: { type: 'text', align: 'left', baseline: 'bottom', dy: -11, dx: 1, fontSize: 11, aria: false },
        encoding: { y, x: { value: 0 }, text: { field: 'label' } },
      },
    ],
  }
}

function tailOf(distribution: Distribution): { name: string; value: number } | null {
  for (const name of TAILS) if (distribution[name] !== null) return { name, value: distribution[name] }
  return null
}

function tailsShown(views: readonly TargetView[]): string {
  const names = views.flatMap((view) =>
    view.blocks.flatMap((block) => PANELS.map((panel) => tailOf(panel.distribution(block))?.name)),
  )
  return [...new Set(names.filter((name) => name !== undefined))].join(', ') || 'none here'
}

function latencyFinding(views: readonly TargetView[]): string {
  const parts = views.flatMap(({ info, summary }) =>
    summary?.ttftP50Ms == null ? [] : [`${cleanLine(info.name, 28)} ${formatNumber(summary.ttftP50Ms)} ms`],
  )
  return parts.length === 0 ? 'Latency' : `Median time to first token: ${parts.join(', ')}`
}
