import type { RequestRecord } from '../../src/result/schema.js'
import { cleanLine } from '../clean.js'
import { formatCount, formatNumber, formatSpan } from '../format.js'
import { type ReportInput, targetViews } from '../input.js'
import { type Chart, extent, NOT_HIDDEN, rounded, targetColor, withTheme, zoomX } from './chart.js'
import { targetLegend } from './shown.js'

const MAX_POINTS = 260
/** Smallest n at which a percentile is printed (load-and-metrics section 3): beyond the last one reached, the curve is faded. */
const FLOORS: [share: number, samples: number][] = [
  [0.999, 6636],
  [0.99, 662],
  [0.95, 130],
  [0.9, 64],
  [0.75, 24],
  [0.5, 11],
]

export function ttftEcdf(input: ReportInput): Chart | null {
  const values = (record: RequestRecord): number[] =>
    record.firstTokenNs === null || record.sentNs === null ? [] : [(record.firstTokenNs - record.sentNs) / 1e6]
  return ecdfChart(input, 'ttft', 'TTFT', 'Time to first token', 'requests', values)
}

/** Gaps between socket reads, shared over the tokens of the read: the definition of ITL. */
export function itlEcdf(input: ReportInput): Chart | null {
  const values = (record: RequestRecord): number[] => {
    const gaps: number[] = []
    for (let i = 1; i < record.readNs.length; i++) {
      const tokens = record.readTokens[i]!
      const gap = (record.readNs[i]! - record.readNs[i - 1]!) / 1e6 / tokens
      for (let token = 0; token < tokens; token++) gaps.push(gap)
    }
    return gaps
  }
  return ecdfChart(input, 'itl', 'ITL', 'Inter-token latency', 'token gaps', values)
}

/** The share of samples at or below x, of all measured blocks of a target together. A picture of raw samples: no figure is computed. */
function ecdfChart(
  input: ReportInput,
  id: string,
  label: string,
  name: string,
  noun: string,
  values: (record: RequestRecord) => number[],
): Chart | null {
  const views = targetViews(input)
  const curves = views.map(({ info }, index) => {
    const requests = input.run.blocks
      .filter((block) => block.manifest.target === info.name)
      .flatMap((block) => block.records.filter((record) => record.phase === 'measure' && record.outcome === 'ok'))
    const sorted = samples(requests, values).sort()
    return {
      s: `t${index}`,
      name: cleanLine(info.name, 40),
      n: sorted.length,
      points: curvePoints(sorted, requests.length, `t${index}`),
    }
  })
  const rows = curves.flatMap((curve) => curve.points)
  if (rows.length === 0) return null
  const color = targetColor(views.length)
  const x = {
    field: 'ms',
    type: 'quantitative',
    title: `${label}, ms (log scale)`,
    scale: { type: 'log', nice: false },
    axis: {
      grid: true,
      tickCount: 6,
      labelExpr: logLabels(rows.map((row) => row.ms)),
    },
  }
  const y = {
    field: 'share',
    type: 'quantitative',
    title: null,
    scale: { domain: [0, 1] },
    axis: { format: '%', values: [0, 0.25, 0.5, 0.75, 0.9, 0.99], labelOverlap: 'greedy' },
  }
  const line = (tail: boolean, opacity: number) => ({
    transform: [NOT_HIDDEN, { filter: `datum.tail == ${tail ? 1 : 0} || datum.tail == 2` }],
    mark: { type: 'line', interpolate: 'step-after', strokeWidth: 2, opacity, aria: false },
    encoding: { x, y, color },
  })
  return {
    id,
    title: `${name}: ${curves.map((curve) => `${curve.name} p50 ${medianText(views.find((_, i) => `t${i}` === curve.s)!.summary, id)}`).join(', ')}`,
    note: `Share of ${noun} at or below x. ${curves.map((curve) => `${curve.name}: n ${formatCount(curve.n)}`).join('; ')}. Faded: beyond the last percentile that the number of requests supports. Left is better.`,
    legend: targetLegend(input),
    readout: null,
    table: {
      head: ['target', 'n', 'p50 ms', 'p90 ms', 'p99 ms', 'max ms'],
      rows: views.map(({ info, blocks }, index) => {
        const of = (pick: 'p50' | 'p90' | 'p99' | 'max') =>
          formatSpan(
            blocks.map((block) => (id === 'ttft' ? block.ttftMs : block.itlMs)[pick]),
            formatNumber,
          )
        return [cleanLine(info.name, 40), formatCount(curves[index]!.n), of('p50'), of('p90'), of('p99'), of('max')]
      }),
    },
    spec: withTheme({
      width: 420,
      height: 260,
      data: { name: id, values: rows },
      layer: [
        { ...line(false, 1), params: [zoomX()] },
        line(true, 0.35),
        {
          data: { name: `${id} percentiles`, values: [0.5, 0.9, 0.99].map((share) => ({ share })) },
          mark: { type: 'rule', stroke: 'var(--axis)', strokeDash: [2, 3], aria: false },
          encoding: { y },
        },
      ],
    }),
  }
}

/** Over some decades only 1, 2 and 5 (over many, 1) of each are labelled: the ticks between would run into each other. */
function logLabels(values: readonly number[]): string {
  const [low, high] = extent(values)
  const text = "format(datum.value, datum.value < 1 ? '~g' : ',~f')"
  const span = high / Math.max(low, 1e-3)
  if (span < 8) return text
  const digits = span > 3e4 ? '[1]' : '[1, 2, 5]'
  const digit = 'round(datum.value / pow(10, floor(log(datum.value) / LN10 + 1e-9)))'
  return `indexof(${digits}, ${digit}) < 0 ? '' : ${text}`
}

/** All values in one typed array: a long run has tens of millions of token gaps. */
function samples(requests: readonly RequestRecord[], values: (record: RequestRecord) => number[]): Float64Array {
  let all = new Float64Array(1024)
  let n = 0
  for (const request of requests)
    for (const value of values(request)) {
      if (n === all.length) {
        const larger = new Float64Array(2 * n)
        larger.set(all)
        all = larger
      }
      all[n++] = value
    }
  return all.subarray(0, n)
}

function medianText(summary: { ttftP50Ms: number | null; itlP50Ms: number | null } | null, id: string): string {
  return `${formatNumber((id === 'ttft' ? summary?.ttftP50Ms : summary?.itlP50Ms) ?? null)} ms`
}

interface CurvePoint {
  s: string
  ms: number
  share: number
  /** 0: supported, 1: beyond, 2: where both meet. */
  tail: 0 | 1 | 2
}

/** At most MAX_POINTS of the steps, closer together towards the tail, first and last always among them. */
function curvePoints(sorted: Float64Array, requests: number, s: string): CurvePoint[] {
  const n = sorted.length
  if (n === 0) return []
  const supported = FLOORS.find(([, samples]) => requests >= samples)?.[0] ?? 0
  const indexes = new Set<number>([0, n - 1])
  for (let i = 0; i < MAX_POINTS; i++) {
    const share = 1 - (1 - i / MAX_POINTS) ** 1.6
    indexes.add(Math.min(n - 1, Math.floor(share * n)))
  }
  const points = [...indexes]
    .sort((a, b) => a - b)
    .map((index): CurvePoint => {
      const share = (index + 1) / n
      return {
        s,
        ms: rounded(Math.max(sorted[index]!, 1e-3)),
        share: Number(share.toFixed(5)),
        tail: share <= supported ? 0 : 1,
      }
    })
  const boundary = points.findIndex((point) => point.tail === 1)
  if (boundary > 0) points[boundary - 1]!.tail = 2
  return points
}
