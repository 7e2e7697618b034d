import { counted, formatNumber } from '../format.js'
import type { ReportInput } from '../input.js'
import { type Chart, type ChartSpec, extent, rounded, withTheme } from './chart.js'

const BINS = 28

/** Prompt and output lengths of the measured requests as planned: the load that every figure of the page is for. */
export function lengthsChart({ run, summary }: ReportInput): Chart | null {
  const rows = run.plan.filter((row) => row.phase === 'measure')
  if (rows.length === 0) return null
  const input = rows.map((row) => row.inputTokens)
  const output = rows.map((row) => row.outputTokens)
  const measured = summary.blocks[0]
  const text = (label: string, mean: number | null | undefined) => `${label} mean ${formatNumber(mean ?? null)}`
  return {
    id: 'lengths',
    title: `Lengths of the ${counted(rows.length, 'planned request')}; of the completed ones: ${text('prompt', measured?.inputLengths.mean)}, ${text('output', measured?.outputLengths.mean)} tokens`,
    note: 'Tokens per request against number of requests, as planned; identical for every target. The wider the output lengths spread, the more a static batch wastes.',
    legend: [],
    readout: null,
    table: {
      head: ['lengths', 'shortest', 'longest'],
      rows: [
        ['prompt tokens', ...extent(input).map(String)],
        ['output tokens', ...extent(output).map(String)],
      ],
    },
    spec: withTheme({
      hconcat: [histogram('prompt tokens', input), histogram('output tokens', output)],
      spacing: 40,
    }),
  }
}

function histogram(name: string, values: readonly number[]): ChartSpec {
  const [low, high] = extent(values)
  const width = Math.max(1, Math.ceil((high - low + 1) / BINS))
  const counts = new Map<number, number>()
  for (const value of values) {
    const bin = Math.floor((value - low) / width)
    counts.set(bin, (counts.get(bin) ?? 0) + 1)
  }
  const rows = [...counts].map(([bin, requests]) => ({
    from: low + bin * width,
    to: rounded(low + (bin + 1) * width),
    requests,
  }))
  return {
    width: 400,
    height: 130,
    data: { name, values: rows },
    mark: { type: 'bar', color: 'var(--neutral)', binSpacing: 1, aria: false },
    encoding: {
      x: {
        field: 'from',
        type: 'quantitative',
        title: name,
        bin: { binned: true },
        scale: rows.length === 1 ? { domain: [Math.max(0, low - 8), low + 9], nice: false } : {},
        axis: { tickCount: 7, grid: false, format: 'd' },
      },
      x2: { field: 'to' },
      y: { field: 'requests', type: 'quantitative', title: null, axis: { tickCount: 3 } },
      tooltip: [{ field: 'from' }, { field: 'to' }, { field: 'requests' }],
    },
  }
}
