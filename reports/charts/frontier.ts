import type { FrontierPoint } from '../../src/result/frontier.js'
import { cleanLine } from '../clean.js'
import { formatNumber, formatShare } from '../format.js'
import {
  type Chart,
  type ChartSpec,
  extent,
  FULL_WIDTH,
  NOT_HIDDEN,
  rounded,
  targetColor,
  targetHue,
  withTheme,
} from './chart.js'

/** The charts of a sweep: throughput against speed per stream, and every metric against the load. */
export function frontierCharts(points: readonly FrontierPoint[]): Chart[] {
  return [frontierChart(points), loadChart(points)].flatMap((chart) => chart ?? [])
}

export function targetNames(points: readonly FrontierPoint[]): string[] {
  return [...new Set(points.map((point) => point.target))]
}

/** Best throughput of each target and the load that gave it. */
export function frontierFinding(points: readonly FrontierPoint[]): string {
  const best = targetNames(points).flatMap((target) => {
    const own = points.filter((point) => point.target === target && point.outputTokensPerSecond !== null)
    if (own.length === 0) return []
    const top = own.reduce((a, b) => (b.outputTokensPerSecond! > a.outputTokensPerSecond! ? b : a))
    return [`${target} ${formatNumber(top.outputTokensPerSecond)} at ${top.variable} ${top.value}`]
  })
  return cleanLine(best.length === 0 ? 'No load gave a throughput' : `Highest output tokens/s: ${best.join(', ')}`, 400)
}

interface Row {
  s: string
  target: string
  load: number
  label: string
  share: string
  counts: string
  throughput: number | null
  perStream: number | null
  ttft: number | null
  itl: number | null
  e2e: number | null
}

function rowsOf(points: readonly FrontierPoint[]): Row[] {
  const names = targetNames(points)
  const value = (figure: number | null) => (figure === null ? null : rounded(figure))
  return [...points]
    .sort((a, b) => a.value - b.value)
    .map((point) => ({
      s: `t${names.indexOf(point.target)}`,
      target: cleanLine(point.target, 40),
      load: point.value,
      label: formatLoad(point.value),
      share: formatShare(point.shareOfLimit ?? null),
      counts: point.validity === 'VALID' && point.meetsSlo ? 'yes' : 'no',
      throughput: value(point.outputTokensPerSecond),
      // Tokens per second of one stream: the reciprocal of the gap between its tokens.
      perStream: point.itlP50Ms === null || point.itlP50Ms <= 0 ? null : rounded(1000 / point.itlP50Ms),
      ttft: value(point.ttftP50Ms),
      itl: value(point.itlP50Ms),
      e2e: value(point.e2eP50Ms),
    }))
}

const formatLoad = (value: number): string => String(Number(value.toPrecision(3)))

function frontierChart(points: readonly FrontierPoint[]): Chart | null {
  const rows = rowsOf(points).filter((row) => row.throughput !== null && row.perStream !== null)
  if (rows.length === 0) return null
  const variable = cleanLine(points[0]!.variable, 20)
  const encoding = {
    x: axis('perStream', 'output tokens/s of one stream (1000 / ITL p50 in ms)'),
    y: axis('throughput', 'output tokens/s of all streams'),
    color: targetColor(targetNames(points).length),
  }
  return {
    id: 'frontier',
    title: `What ${variable} buys: the throughput of all streams against the speed of one`,
    note: `Each point is one run at one ${variable} (its label); a line joins the runs of a target. Up and to the right is better. Hollow: not VALID, or an objective was missed.`,
    legend: legend(points),
    readout: null,
    table: table(points),
    spec: withTheme({
      width: FULL_WIDTH - 10,
      height: FRONTIER_HEIGHT,
      data: { name: 'frontier', values: withNames(rows) },
      transform: [NOT_HIDDEN],
      layer: [
        {
          mark: { type: 'line', strokeWidth: 1.5, opacity: 0.6, aria: false },
          encoding: { ...encoding, order: { field: 'load' } },
        },
        { mark: pointMark(), encoding: { ...encoding, ...pointLook(points), tooltip: tooltip(variable) } },
        ...([-11, 13] as const).map((dy) => ({
          transform: [{ filter: `datum.above == ${dy < 0}` }],
          mark: { type: 'text', dy, fontSize: 11, aria: false },
          encoding: { ...encoding, text: { field: 'name' } },
        })),
      ],
    }),
  }
}

/** Pixels closer than which two labels of a target would run into each other: they become one, at the first point. */
const NEAR = { x: 22, y: 26 }
const FRONTIER_HEIGHT = 320

/** Labels of the first target stand below their points, of the second above, and so on. */
function withNames(rows: readonly Row[]): (Row & { name: string; above: boolean })[] {
  const [, right] = extent(rows.map((row) => row.perStream!))
  const [, top] = extent(rows.map((row) => row.throughput!))
  const named: (Row & { name: string; above: boolean })[] = []
  for (const row of rows) {
    const near = named.find(
      (other) =>
        other.s === row.s &&
        other.name !== '' &&
        Math.abs(other.perStream! - row.perStream!) < (NEAR.x / (FULL_WIDTH - 10)) * right &&
        Math.abs(other.throughput! - row.throughput!) < (NEAR.y / FRONTIER_HEIGHT) * top,
    )
    if (near !== undefined) near.name += `, ${row.label}`
    named.push({ ...row, name: near === undefined ? row.label : '', above: Number(row.s.slice(1)) % 2 === 1 })
  }
  return named
}

const PANELS = [
  ['throughput', 'Output tokens/s'],
  ['ttft', 'TTFT p50, ms'],
  ['itl', 'ITL p50, ms'],
  ['e2e', 'e2e p50, ms'],
] as const

function loadChart(points: readonly FrontierPoint[]): Chart | null {
  const rows = rowsOf(points)
  const panels = PANELS.filter(([field]) => rows.some((row) => row[field] !== null))
  if (panels.length === 0) return null
  const variable = cleanLine(points[0]!.variable, 20)
  return {
    id: 'load',
    title: `What happens as the ${variable} rises from ${formatLoad(rows[0]!.load)} to ${formatLoad(rows.at(-1)!.load)}`,
    note: 'Medians of each run, as measured at that load. Where throughput stops rising and latency starts to, the target is saturated. Hollow: not VALID, or an objective was missed.',
    legend: legend(points),
    readout: null,
    table: table(points),
    spec: withTheme({
      concat: panels.map(([field, title]) => panel(field, title, rows, points, variable)),
      columns: 2,
      bounds: 'flush',
      spacing: { row: 76, column: 70 },
    }),
  }
}

function panel(
  field: (typeof PANELS)[number][0],
  title: string,
  rows: readonly Row[],
  points: readonly FrontierPoint[],
  variable: string,
): ChartSpec {
  const log = rows.every((row) => row.load > 0) && rows.at(-1)!.load / rows[0]!.load >= 8
  const loads = [...new Set(rows.map((row) => row.load))]
  const encoding = {
    x: {
      field: 'load',
      type: 'quantitative',
      title: variable,
      scale: log ? { type: 'log', base: 2, nice: false } : { zero: false },
      axis: { values: loads, labelOverlap: 'greedy', format: '~r', grid: true },
    },
    y: axis(field, null),
    color: targetColor(targetNames(points).length),
  }
  return {
    width: 400,
    height: 150,
    title: { text: title, fontSize: 11 },
    data: { name: field, values: rows.filter((row) => row[field] !== null) },
    transform: [NOT_HIDDEN],
    layer: [
      { mark: { type: 'line', strokeWidth: 1.5, aria: false }, encoding },
      { mark: pointMark(), encoding: { ...encoding, ...pointLook(points), tooltip: tooltip(variable) } },
    ],
  }
}

const axis = (field: string, title: string | null) => ({
  field,
  type: 'quantitative',
  title,
  scale: { zero: true },
  axis: { grid: true, tickCount: 6, format: ',~f' },
})

const pointMark = () => ({ type: 'point', size: 46, strokeWidth: 1.6, opacity: 1, filled: false, aria: false })

/** Filled with the target's colour when the run counts. */
function pointLook(points: readonly FrontierPoint[]): Record<string, unknown> {
  const condition = targetNames(points).map((_, index) => ({
    test: `datum.counts == 'yes' && datum.s == 't${index}'`,
    value: targetHue(index),
  }))
  return { fill: { condition, value: 'var(--bg)' } }
}

const tooltip = (variable: string) => [
  { field: 'target' },
  { field: 'load', title: variable },
  { field: 'throughput', title: 'output tok/s' },
  { field: 'ttft', title: 'TTFT p50, ms' },
  { field: 'itl', title: 'ITL p50, ms' },
  { field: 'e2e', title: 'e2e p50, ms' },
  { field: 'share', title: 'share of the limit' },
  { field: 'counts', title: 'valid, objectives met' },
]

const legend = (points: readonly FrontierPoint[]) =>
  targetNames(points).map((name, index) => ({
    label: cleanLine(name, 40),
    color: targetHue(index),
    series: `t${index}`,
  }))

const table = (points: readonly FrontierPoint[]) => ({
  head: ['load', 'target', 'output tok/s', 'share of the limit', 'TTFT p50 ms', 'ITL p50 ms', 'e2e p50 ms'],
  rows: points.map((point) => [
    `${cleanLine(point.variable, 20)} ${formatLoad(point.value)}`,
    cleanLine(point.target, 40),
    formatNumber(point.outputTokensPerSecond),
    formatShare(point.shareOfLimit ?? null),
    formatNumber(point.ttftP50Ms),
    formatNumber(point.itlP50Ms),
    formatNumber(point.e2eP50Ms),
  ]),
})
