import type { Comparison } from '../../src/result/schema.js'
import { cleanLine } from '../clean.js'
import { formatInterval, formatNumber, formatRatio } from '../format.js'
import type { ReportInput } from '../input.js'
import { type Chart, extent, FULL_WIDTH, rounded, targetColor, withTheme } from './chart.js'
import { targetLegend } from './shown.js'

/** Each compared metric's ratio with its interval, on one log scale, before the band within which two sides count as equal. */
export function forestChart(input: ReportInput): Chart | null {
  const { comparisons } = input.summary
  const names = input.run.manifest.targets.map((target) => target.name)
  const shown = comparisons.filter((row) => row.ratio !== null && row.ratio > 0)
  if (shown.length === 0) return null
  const several = new Set(shown.map((row) => row.head)).size > 1
  const label = (row: Comparison) => (several ? `${metricLabel(row)} ${cleanLine(row.head, 16)}` : metricLabel(row))
  const rows = shown.map((row) => ({
    s: `t${names.indexOf(row.head)}`,
    metric: label(row),
    ratio: rounded(row.ratio!),
    low: rounded(row.ratioLow ?? row.ratio!),
    high: rounded(row.ratioHigh ?? row.ratio!),
    verdict: row.verdict,
    label: `${formatRatio(row.ratio)} ${formatInterval(row.ratioLow, row.ratioHigh, formatRatio)}`,
  }))
  const bands = shown.map((row) => ({
    metric: label(row),
    from: rounded(1 - (row.marginPercent ?? 0) / 100),
    to: rounded(1 + (row.marginPercent ?? 0) / 100),
  }))
  const [low, high] = extent([...rows.flatMap((row) => [row.low, row.high]), 0.8, 1.25])
  const domain = [rounded(low / 1.15), rounded(high * 1.15)]
  const x = (field: string) => ({
    field,
    type: 'quantitative',
    title: `ratio to ${cleanLine(shown[0]!.base, 40)} (log scale)`,
    scale: { type: 'log', domain, nice: false },
    axis: { grid: true, tickCount: 6, format: '~r' },
  })
  const y = {
    field: 'metric',
    type: 'nominal',
    sort: null,
    title: null,
    axis: { labelFontSize: 12, labelColor: 'var(--fg)', minExtent: 190, maxExtent: 190, labelLimit: 185 },
  }
  return {
    id: 'forest',
    title: verdictsText(shown),
    note: `Ratio of each metric to the base with its ${Math.round(shown[0]!.confidence * 100)}% interval; grey band: the margin within which two sides count as equal; arrow in the name: the better direction. An interval wholly beyond the band decides, one that touches it does not.`,
    legend: targetLegend(input)
      .slice(1)
      .map((entry) => ({ ...entry, series: null })),
    readout: null,
    table: {
      head: ['metric', 'base', 'head', 'ratio', 'interval', 'margin', 'verdict'],
      rows: shown.map((row) => [
        `${row.metric}: ${cleanLine(row.head, 30)}`,
        formatNumber(row.baseValue),
        formatNumber(row.headValue),
        formatRatio(row.ratio),
        formatInterval(row.ratioLow, row.ratioHigh, formatRatio),
        `${row.marginPercent ?? 0}%`,
        row.verdict,
      ]),
    },
    spec: withTheme({
      width: FULL_WIDTH - 150,
      height: { step: 26 },
      layer: [
        {
          data: { name: 'margins', values: bands },
          mark: { type: 'bar', height: 26, color: 'var(--grid)', aria: false },
          encoding: { y, x: x('from'), x2: { field: 'to' } },
        },
        {
          data: { name: 'one', values: [{ one: 1 }] },
          mark: { type: 'rule', stroke: 'var(--muted)', strokeDash: [2, 3], aria: false },
          encoding: { x: x('one') },
        },
        {
          data: { name: 'ratios', values: rows },
          mark: { type: 'rule', strokeWidth: 2, aria: false },
          encoding: { y, x: x('low'), x2: { field: 'high' }, color: targetColor(names.length) },
        },
        {
          data: { name: 'estimates', values: rows },
          mark: { type: 'point', filled: true, size: 52, opacity: 1, aria: false },
          encoding: {
            y,
            x: x('ratio'),
            color: targetColor(names.length),
            tooltip: [{ field: 'metric' }, { field: 'label', title: 'ratio' }, { field: 'verdict' }],
          },
        },
      ],
    }),
  }
}

const metricLabel = (row: Comparison): string => `${cleanLine(row.metric, 24)} ${row.lowerIsBetter ? '↓' : '↑'}`

function verdictsText(rows: readonly Comparison[]): string {
  const heads = [...new Set(rows.map((row) => row.head))]
  const texts = heads.map((head) => {
    const own = rows.filter((row) => row.head === head)
    const count = (verdict: Comparison['verdict']) => own.filter((row) => row.verdict === verdict).length
    const parts = (['improved', 'equivalent', 'inconclusive', 'regressed', 'incomparable', 'single-run'] as const)
      .filter((verdict) => count(verdict) > 0)
      .map((verdict) => `${count(verdict)} ${verdict === 'single-run' ? 'without an interval' : verdict}`)
    return `${cleanLine(head, 30)}: ${parts.join(', ')}`
  })
  const metrics = new Set(rows.map((row) => row.metric)).size
  return `Of ${metrics} metrics against ${cleanLine(rows[0]!.base, 30)}: ${texts.join('; ')}`
}
