import type { TtftSplit } from '../../src/result/schema.js'
import { cleanLine } from '../clean.js'
import { TTFT_PHASES } from '../details/ttft.js'
import { formatNumber, formatShare } from '../format.js'
import { type ReportInput, type TargetView, targetViews } from '../input.js'
import { type Chart, type ChartSpec, FULL_WIDTH, rounded, withTheme } from './chart.js'

/** One coloured piece of a target's bar. */
interface Piece {
  target: string
  phase: string
  order: number
  ms: number
}

const REST = { label: 'rest (not told apart)', color: 'var(--neutral)' }
const PHASES = [...TTFT_PHASES.map(({ label, color }) => ({ label, color })), REST]

/** Mean TTFT of each target from due time, cut into its phases: in milliseconds, and as shares of each target's own. */
export function ttftPartsChart(input: ReportInput): Chart | null {
  const bars = targetViews(input).flatMap((view) => barOf(view) ?? [])
  if (bars.length === 0) return null
  const pieces = bars.flatMap((bar) => bar.pieces)
  const used = PHASES.filter(({ label }) => pieces.some((piece) => piece.phase === label))
  const other = bars.filter((bar) => bar.source === 'server').map((bar) => bar.target)
  return {
    id: 'ttft-parts',
    title: `Where TTFT goes: ${bars.map(finding).join('; ')}`,
    note:
      `Mean from the instant a request was due to its first token; left in milliseconds, right as shares of each target’s own. ` +
      `${bars.some((bar) => bar.source === 'trace') ? 'Our engines: their step trace joined with the client’s stamps, per request. ' : ''}` +
      `${other.length > 0 ? `${other.join(', ')}: means of the server’s own /metrics, warm-up included. ` : ''}Lower is better.`,
    legend: used.map(({ label, color }) => ({ label, color, series: null })),
    readout: null,
    table: {
      head: ['target', ...used.map(({ label }) => `${label} ms`)],
      rows: bars.map((bar) => [
        bar.target,
        ...used.map(({ label }) => formatNumber(bar.pieces.find((piece) => piece.phase === label)?.ms ?? null)),
      ]),
    },
    spec: withTheme({
      data: { name: 'pieces', values: pieces },
      hconcat: [panel(used, false, 0), panel(used, true, 1)],
      spacing: 30,
    }),
  }
}

interface Bar {
  target: string
  source: 'trace' | 'server'
  pieces: Piece[]
}

function barOf({ info, summary, blocks }: TargetView): Bar | null {
  const target = cleanLine(info.name, 28)
  const mean = summary?.ttftSplit?.mean
  if (mean !== undefined)
    return {
      target,
      source: 'trace',
      pieces: piecesOf(target, (label) => partOf(mean, label)),
    }
  const split = blocks.find((block) => (block.serverSplit?.restMs ?? null) !== null)?.serverSplit
  if (!split) return null
  const told = (name: string) => split.parts.find(({ part }) => part === name)?.meanMs ?? null
  return {
    target,
    source: 'server',
    pieces: piecesOf(target, (label) => (label === REST.label ? split.restMs : told(label))),
  }
}

const partOf = (mean: TtftSplit, label: string): number | null => {
  const phase = TTFT_PHASES.find((one) => one.label === label)
  return phase === undefined ? null : mean[phase.part]
}

/** A mean below zero (clocks read a moment apart) has no length to draw; the table shows it. */
function piecesOf(target: string, ms: (label: string) => number | null): Piece[] {
  return PHASES.flatMap(({ label }, order) => {
    const value = ms(label)
    return value === null ? [] : [{ target, phase: label, order, ms: rounded(Math.max(0, value)) }]
  })
}

/** 'paged 90 ms, mostly prefill'. */
function finding({ target, pieces }: Bar): string {
  const total = pieces.reduce((sum, { ms }) => sum + ms, 0)
  const most = pieces.reduce((a, b) => (b.ms > a.ms ? b : a))
  const share = total === 0 ? '' : `, ${formatShare(most.ms / total)} of it ${most.phase}`
  return `${target} ${formatNumber(total)} ms${share}`
}

function panel(used: readonly { label: string; color: string }[], shares: boolean, column: number): ChartSpec {
  const axis =
    column === 0 ? { labelFontSize: 12, labelColor: 'var(--fg)', maxExtent: 130, minExtent: 60, labelLimit: 130 } : null
  return {
    width: (FULL_WIDTH - 120) / 2,
    height: { step: 40 },
    mark: { type: 'bar', height: 22, stroke: 'var(--bg)', strokeWidth: 0.5, aria: false },
    encoding: {
      y: { field: 'target', type: 'nominal', sort: null, title: null, axis },
      x: {
        field: 'ms',
        type: 'quantitative',
        stack: shares ? 'normalize' : 'zero',
        title: shares ? 'share of the target’s own mean' : 'ms, mean',
        axis: { grid: true, tickCount: 5, ...(shares ? { format: '.0%' } : {}) },
      },
      order: { field: 'order', type: 'quantitative' },
      color: {
        field: 'phase',
        type: 'nominal',
        legend: null,
        scale: { domain: used.map(({ label }) => label), range: used.map(({ color }) => color) },
      },
      tooltip: [{ field: 'target' }, { field: 'phase' }, { field: 'ms', title: 'ms, mean' }],
    },
  }
}
