import { cleanLine } from '../clean.js'
import { counted, formatInterval, formatNumber, formatShare } from '../format.js'
import { type ReportInput, targetViews } from '../input.js'
import { type Chart, FULL_WIDTH, rounded, targetColor, withTheme } from './chart.js'

/** Output tokens/s per target: the mean over blocks, its interval, each block as a dot, the physical limit as a tick. */
export function throughputChart(input: ReportInput): Chart | null {
  const views = targetViews(input).map((view, index) => ({
    ...view,
    s: `t${index}`,
    target: cleanLine(view.info.name, 28),
  }))
  const bars = views.flatMap(({ s, target, summary }) => {
    if (summary === null || summary.outputTokensPerSecond === null) return []
    const { outputTokensPerSecond: value, outputTokensPerSecondLow: low, outputTokensPerSecondHigh: high } = summary
    const share = summary.shareOfLimit === null ? '' : `· ${formatShare(summary.shareOfLimit)} of the limit`
    const label = [formatNumber(value), formatInterval(low, high, formatNumber), share].filter(Boolean).join('  ')
    return [{ s, target, value: rounded(value), low: low ?? value, high: high ?? value, label }]
  })
  if (bars.length === 0) return null
  const dots = views.flatMap(({ s, target, blocks }) =>
    blocks.flatMap(({ block, outputTokensPerSecond: value }) =>
      value === null ? [] : [{ s, target, block, value: rounded(value) }],
    ),
  )
  const limits = views.flatMap(({ s, target, blocks }) => {
    const limit = blocks.find((block) => block.limitTokensPerSecond !== null)?.limitTokensPerSecond
    return limit == null ? [] : [{ s, target, limit: rounded(limit) }]
  })
  const y = {
    field: 'target',
    type: 'nominal',
    sort: null,
    title: null,
    axis: { labelFontSize: 12, labelColor: 'var(--fg)', maxExtent: 130, minExtent: 60, labelLimit: 130 },
  }
  const end = (row: (typeof bars)[number]) =>
    Math.max(row.high, ...dots.filter((dot) => dot.s === row.s).map((dot) => dot.value))
  const top = Math.max(...bars.map(end), ...limits.map((limit) => limit.limit / 1.1))
  // A label that the limit's tick would cross stands beyond it.
  const labelAt = (row: (typeof bars)[number]) => {
    const limit = limits.find((entry) => entry.s === row.s)?.limit ?? 0
    return limit > end(row) && limit < end(row) + 0.34 * top ? limit : end(row)
  }
  const x = (field: string) => ({
    field,
    type: 'quantitative',
    title: 'output tokens/s',
    scale: { domain: [0, top * 1.36], nice: false },
    axis: { grid: true, tickCount: 6 },
  })
  const color = targetColor(views.length)
  return {
    id: 'throughput',
    title: `Output tokens per second: ${bars.map((bar) => `${bar.target} ${formatNumber(bar.value)}`).join(', ')}`,
    note: `Output tokens that arrived in the steady window, per second. Bar: mean over blocks; line: its 90% interval; dots: ${counted(dots.length, 'block')}${limits.length > 0 ? '; upright tick: what the device allows' : ''}. Higher is better.`,
    legend: [],
    readout: null,
    table: {
      head: ['target', 'output tok/s', 'interval', 'limit tok/s', 'share of the limit'],
      rows: bars.map((bar) => [
        bar.target,
        formatNumber(bar.value),
        bar.low === bar.high ? '' : formatInterval(bar.low, bar.high, formatNumber),
        formatNumber(limits.find((limit) => limit.s === bar.s)?.limit ?? null),
        formatShare(views.find((view) => view.s === bar.s)?.summary?.shareOfLimit ?? null),
      ]),
    },
    spec: withTheme({
      width: FULL_WIDTH - 60,
      height: { step: 46 },
      data: { name: 'bars', values: bars.map((bar) => ({ ...bar, labelAt: labelAt(bar) })) },
      layer: [
        {
          mark: { type: 'bar', height: 22, cornerRadiusEnd: 3, aria: false },
          encoding: {
            y,
            x: x('value'),
            color,
            tooltip: [{ field: 'target' }, { field: 'label', title: 'output tok/s' }],
          },
        },
        {
          mark: { type: 'rule', strokeWidth: 2, stroke: 'var(--fg)', aria: false },
          encoding: { y, x: x('low'), x2: { field: 'high' } },
        },
        {
          mark: { type: 'text', align: 'left', dx: 10, fontWeight: 600, aria: false },
          encoding: { y, x: x('labelAt'), text: { field: 'label' } },
        },
        {
          data: { name: 'blocks', values: dots },
          mark: {
            type: 'point',
            filled: true,
            size: 26,
            fill: 'var(--bg)',
            stroke: 'var(--fg)',
            strokeWidth: 1.2,
            opacity: 1,
            aria: false,
          },
          encoding: {
            y,
            x: x('value'),
            tooltip: [{ field: 'target' }, { field: 'block' }, { field: 'value', title: 'output tok/s' }],
          },
        },
        {
          data: { name: 'limits', values: limits },
          mark: { type: 'tick', thickness: 2, size: 34, color: 'var(--fg)', aria: false },
          encoding: {
            y,
            x: x('limit'),
            tooltip: [{ field: 'target' }, { field: 'limit', title: 'physical limit, tok/s' }],
          },
        },
      ],
    }),
  }
}
