import { deepFreeze } from './parse.js'
import { defaultStaggerMs } from './stagger.js'
import type { Scenario, Search } from './types.js'

export type LoadVariable = 'concurrency' | 'rate'

/** One load of a sweep or search: a scenario without the sweep, at one value. */
export interface LoadPoint {
  variable: LoadVariable
  value: number
  scenario: Scenario
}

/** The points of load.sweep in their order; a scenario without a sweep is one point of itself. */
export function sweepPoints(scenario: Scenario): LoadPoint[] {
  if (scenario.sweep === null) {
    const { arrival } = scenario.load
    if (arrival.kind === 'closed') return [{ variable: 'concurrency', value: arrival.concurrency, scenario }]
    return [
      { variable: 'rate', value: arrival.kind === 'open' ? arrival.stages[0]!.fromRate : arrival.scale, scenario },
    ]
  }
  const { variable, values } = scenario.sweep
  return values.map((value) => ({ variable, value, scenario: atLoad(scenario, variable, value) }))
}

/**
 * The scenario at another load. Counts given as multiples follow it. Every point gets content seeds of its own: with the same prompts a later point
 * would find an earlier one's in the prefix cache (vllm #54227 reports +86 % throughput from that).
 */
export function atLoad(scenario: Scenario, variable: LoadVariable, value: number): Scenario {
  const { load } = scenario
  const count = (perUnit: number | null, plain: number) =>
    perUnit === null ? plain : Math.max(1, Math.ceil(perUnit * value))
  const arrival: Scenario['load']['arrival'] =
    variable === 'concurrency'
      ? {
          kind: 'closed',
          concurrency: value,
          thinkMs: load.arrival.kind === 'closed' ? load.arrival.thinkMs : null,
          staggerMs: load.staggerAskedMs ?? defaultStaggerMs(value),
        }
      : openAt(scenario, value)
  return deepFreeze({
    ...scenario,
    sweep: null,
    search: null,
    load: {
      ...load,
      arrival,
      requests: load.requests === null ? null : count(load.requestsPerUnit, load.requests),
      warmupRequests: count(load.warmupPerUnit, load.warmupRequests),
    },
    seeds: { ...scenario.seeds, content: scenario.seeds.content + Math.round(value * 1000) },
  })
}

function openAt(scenario: Scenario, rate: number): Scenario['load']['arrival'] {
  const { arrival } = scenario.load
  const secs = arrival.kind === 'open' ? arrival.stages[0]!.secs : null
  const base =
    arrival.kind === 'open' ? arrival : ({ kind: 'open', process: 'poisson', burstiness: 1, cap: 512 } as const)
  return { ...base, stages: [{ fromRate: rate, toRate: rate, secs }] }
}

/** One finished probe of a search: whether the SLO was met at that load. */
export interface Probe {
  value: number
  meets: boolean
}

/** The interval is narrow enough when its ends differ by this share. */
const RESOLUTION = 0.05

/**
 * The next load to try, by bisection over verdicts: first the low end, then the high end, then the geometric mean of the highest that met and the lowest
 * that failed. Null: done. A function of the probes alone, so a search resumes from what is on disk.
 */
export function nextProbe(search: Search, probes: readonly Probe[]): number | null {
  if (probes.length >= search.maxProbes) return null
  const tried = (value: number) => probes.find((probe) => probe.value === value)
  const low = tried(search.low)
  if (low === undefined) return search.low
  if (!low.meets) return null
  const high = tried(search.high)
  if (high === undefined) return search.high
  if (high.meets) return null
  const { best, failing } = bracket(probes)
  if (failing! / best! - 1 <= RESOLUTION) return null
  const middle = Math.sqrt(best! * failing!)
  const value = search.variable === 'concurrency' ? Math.round(middle) : Number(middle.toPrecision(4))
  return tried(value) === undefined ? value : null
}

/** What a search found: the highest load that met the SLO and the lowest above it that did not. */
export interface SearchResult {
  best: number | null
  failing: number | null
  /** False while nextProbe still has one. */
  finished: boolean
  /** Even the high end met: the true limit is above it. */
  unbounded: boolean
}

export function searchResult(search: Search, probes: readonly Probe[]): SearchResult {
  const { best, failing } = bracket(probes)
  return { best, failing, finished: nextProbe(search, probes) === null, unbounded: best === search.high }
}

function bracket(probes: readonly Probe[]): { best: number | null; failing: number | null } {
  const failed = probes.filter((probe) => !probe.meets).map((probe) => probe.value)
  const failing = failed.length === 0 ? null : Math.min(...failed)
  // A load that met above one that failed is noise: it does not count.
  const met = probes
    .filter((probe) => probe.meets && (failing === null || probe.value < failing))
    .map((probe) => probe.value)
  return { best: met.length === 0 ? null : Math.max(...met), failing }
}
