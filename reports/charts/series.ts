import type { TelemetrySample } from '../../src/result/schema.js'
import type { StepRecord } from '../../src/result/trace.js'
import { rounded } from './chart.js'
import type { ShownBlock } from './shown.js'

/** One line of a time chart. `v` null breaks the line: no value was read there. */
export interface SeriesPoint {
  s: string
  t: number
  v: number | null
  /** 'solid' or the dashed second line of the same target. */
  line?: 'solid' | 'dashed'
}

const BINS = 220

/** Seconds per bin, so that a chart of `durationSecs` has some 220: 1, 2 or 5 times a power of ten. */
export function binSecs(durationSecs: number): number {
  const raw = durationSecs / BINS
  const power = 10 ** Math.floor(Math.log10(raw))
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10)
}

/** Output tokens/s as the client received them. */
export function receivedTokens(block: ShownBlock, bin: number): SeriesPoint[] {
  const sums = emptyBins(block, bin)
  for (const record of block.data.records) {
    if (record.sentNs === null) continue
    for (let i = 0; i < record.readNs.length; i++) {
      const secs = (record.sentNs + record.readNs[i]! - block.zeroNs) / 1e9
      add(sums, secs, bin, record.readTokens[i]!)
    }
  }
  return toPoints(block, sums, bin, (sum) => sum / bin)
}

/** A sum over the engine's steps, per second of the bin: each step's amount is spread over the time it ran. */
export function stepRate(block: ShownBlock, bin: number, amount: (step: StepRecord) => number): SeriesPoint[] {
  const sums = emptyBins(block, bin)
  eachStep(block, (step, from, to) => spread(sums, from, to, bin, amount(step)))
  return hasSteps(block) ? toPoints(block, sums, bin, (sum) => sum / bin) : []
}

/** A state of the engine, averaged over the time of its steps in the bin; null where no step ran. */
export function stepLevel(block: ShownBlock, bin: number, level: (step: StepRecord) => number): SeriesPoint[] {
  return stepQuotient(
    block,
    bin,
    (step, secs) => level(step) * secs,
    (_step, secs) => secs,
  )
}

/** Padding among computed tokens. */
export function stepShare(
  block: ShownBlock,
  bin: number,
  part: (step: StepRecord) => number,
  whole: (step: StepRecord) => number,
): SeriesPoint[] {
  return stepQuotient(block, bin, part, whole)
}

/** Readings as they were taken, at most one a bin; null where the field has no value. */
export function telemetrySeries(
  block: ShownBlock,
  bin: number,
  read: (sample: TelemetrySample) => number | null,
): SeriesPoint[] {
  const points: SeriesPoint[] = []
  let last = Number.NEGATIVE_INFINITY
  for (const sample of block.data.telemetry) {
    const secs = (sample.tNs - block.zeroNs) / 1e9
    if (secs < 0 || secs > block.durationSecs || secs - last < bin * 0.99) continue
    last = secs
    const value = read(sample)
    points.push({ s: block.series, t: Number(secs.toFixed(3)), v: value === null ? null : rounded(value) })
  }
  return points.some((point) => point.v !== null) ? points : []
}

function stepQuotient(
  block: ShownBlock,
  bin: number,
  top: (step: StepRecord, secs: number) => number,
  bottom: (step: StepRecord, secs: number) => number,
): SeriesPoint[] {
  if (!hasSteps(block)) return []
  const tops = emptyBins(block, bin)
  const bottoms = emptyBins(block, bin)
  eachStep(block, (step, from, to) => {
    spread(tops, from, to, bin, top(step, to - from))
    spread(bottoms, from, to, bin, bottom(step, to - from))
  })
  return Array.from(tops, (sum, index) => ({
    s: block.series,
    t: Number((index * bin).toFixed(3)),
    v: bottoms[index]! > 1e-9 ? rounded(sum / bottoms[index]!) : null,
  }))
}

const hasSteps = (block: ShownBlock): boolean => block.data.steps.some((entry) => entry.kind === 'step')

function eachStep(block: ShownBlock, visit: (step: StepRecord, from: number, to: number) => void): void {
  for (const entry of block.data.steps) {
    if (entry.kind !== 'step') continue
    const from = (entry.tNs - block.zeroNs) / 1e9
    visit(entry, from, from + Math.max(1e-6, entry.durationNs / 1e9))
  }
}

const emptyBins = (block: ShownBlock, bin: number): Float64Array =>
  new Float64Array(Math.max(1, Math.ceil(block.durationSecs / bin)))

function add(sums: Float64Array, secs: number, bin: number, amount: number): void {
  const index = Math.floor(secs / bin)
  if (index >= 0 && index < sums.length) sums[index]! += amount
}

function spread(sums: Float64Array, from: number, to: number, bin: number, amount: number): void {
  const perSec = amount / (to - from)
  const first = Math.max(0, Math.floor(from / bin))
  const last = Math.min(sums.length - 1, Math.floor(to / bin))
  for (let index = first; index <= last; index++) {
    const overlap = Math.min(to, (index + 1) * bin) - Math.max(from, index * bin)
    if (overlap > 0) sums[index]! += perSec * overlap
  }
}

function toPoints(block: ShownBlock, sums: Float64Array, bin: number, value: (sum: number) => number): SeriesPoint[] {
  return Array.from(sums, (sum, index) => ({
    s: block.series,
    t: Number((index * bin).toFixed(3)),
    v: rounded(value(sum)),
  }))
}
