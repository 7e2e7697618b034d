import type { EngineStats, FinishReason } from './engine.js'

/** The numbers of EngineStats, in a SharedArrayBuffer: the worker writes them each step, the main thread reads them at any time. */
const FIELDS = [
  'running',
  'waiting',
  'kvBlocksUsed',
  'kvBlocksTotal',
  'promptTokens',
  'generationTokens',
  'cachedPromptTokens',
  'preemptions',
  'requestsAccepted',
  'steps',
  'paddedTokens',
  'scheduleNsP50',
  'scheduleNsP99',
  'stop',
  'length',
  'abort',
  'error',
] as const
export type StatField = (typeof FIELDS)[number]

const INDEX = Object.fromEntries(FIELDS.map((name, index) => [name, index])) as Record<StatField, number>

export class StatsBlock {
  readonly #values: Float64Array

  constructor(readonly buffer: SharedArrayBuffer = new SharedArrayBuffer(FIELDS.length * 8)) {
    this.#values = new Float64Array(buffer)
  }

  get(field: StatField): number {
    return this.#values[INDEX[field]]!
  }
  set(field: StatField, value: number): void {
    this.#values[INDEX[field]] = value
  }
  add(field: StatField, value: number): void {
    this.#values[INDEX[field]]! += value
  }

  snapshot(integrity: string | null): EngineStats {
    const get = (field: StatField) => this.get(field)
    const requestsFinished: Record<FinishReason, number> = {
      stop: get('stop'),
      length: get('length'),
      abort: get('abort'),
      error: get('error'),
    }
    return {
      running: get('running'),
      waiting: get('waiting'),
      kvBlocksUsed: get('kvBlocksUsed'),
      kvBlocksTotal: get('kvBlocksTotal'),
      promptTokens: get('promptTokens'),
      generationTokens: get('generationTokens'),
      cachedPromptTokens: get('cachedPromptTokens'),
      preemptions: get('preemptions'),
      requestsFinished,
      requestsAccepted: get('requestsAccepted'),
      steps: get('steps'),
      paddedTokens: get('paddedTokens'),
      scheduleNsP50: get('scheduleNsP50'),
      scheduleNsP99: get('scheduleNsP99'),
      integrity,
    }
  }
}

const RECENT = 1024
const REFRESH_NS = 1e9

/** Quantiles of the last 1,024 planning times, refreshed once a second (at first as their number doubles): sorting costs more than planning. */
export class ScheduleTimes {
  readonly #recent = new Float64Array(RECENT)
  #count = 0
  #refreshedNs = 0

  add(durationNs: number, nowNs: number, stats: StatsBlock): void {
    this.#recent[this.#count++ % RECENT] = durationNs
    const doubled = this.#count <= RECENT && (this.#count & (this.#count - 1)) === 0
    if (!doubled && nowNs - this.#refreshedNs < REFRESH_NS) return
    this.#refreshedNs = nowNs
    const sorted = this.#recent.slice(0, Math.min(this.#count, RECENT)).sort()
    stats.set('scheduleNsP50', nearestRank(sorted, 0.5))
    stats.set('scheduleNsP99', nearestRank(sorted, 0.99))
  }
}

function nearestRank(sorted: Float64Array, share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!
}
