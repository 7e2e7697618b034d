import { buildDistribution, type Fail } from './build-distribution.js'
import { parseCount } from './quantity.js'
import type { ScenarioForm } from './schema.js'
import { defaultStaggerMs } from './stagger.js'
import type { Arrival, LoadPlan, RateStage, Search, Sweep } from './types.js'

type LoadForm = ScenarioForm['load'][number]
type Path = (string | number)[]

const DEFAULT_CAP = 512
/** Closed loop without a count: ten requests a slot (InferenceX). */
const DEFAULT_PER_UNIT = 10

/** The load entries -> one arrival process, its counts, and the sweep or search over it. Warm-up entries only add requests in front. */
export function buildLoad(
  form: ScenarioForm,
  fail: Fail,
): { plan: LoadPlan; sweep: Sweep | null; search: Search | null } {
  const measured = form.load.flatMap((entry, index) => (isWarmup(entry) ? [] : [{ entry, index }]))
  if (measured.length !== 1) throw fail(['load'], `expected one measured load entry, found ${measured.length}`)
  const { entry, index } = measured[0]!
  const path = ['load', index]
  const sweep = buildSweep(entry, fail, path)
  const search = buildSearch(entry, fail, path)
  const arrival = buildArrival(entry, sweep, search, fail, path)
  const unit = countUnit(arrival)
  const asked = entry.requests === undefined ? (entry.min_requests ?? null) : parseCount(entry.requests, unit)
  const byDefault = asked === null && arrival.kind === 'closed' ? DEFAULT_PER_UNIT : null
  const requests = byDefault === null ? asked : byDefault * unit
  if (requests === 0) throw fail(path, 'a load of 0 requests measures nothing')
  if (arrival.kind === 'open' && requests === null && arrival.stages.at(-1)!.secs === null) {
    throw fail(path, 'an open loop needs requests: N or max: TIME')
  }
  const warmupRequests = form.load.reduce((sum, warm, at) => {
    if (!isWarmup(warm)) return sum
    const differs =
      warm.concurrency !== undefined && (arrival.kind !== 'closed' || warm.concurrency !== arrival.concurrency)
    if ((differs && sweep === null && search === null) || warm.replay !== undefined || warm.ramp !== undefined) {
      throw fail(
        ['load', at],
        'warm-up flows into the measured phase without draining, at its load: give only requests',
      )
    }
    return sum + (parseCount(warm.requests ?? '1x', unit) ?? 0)
  }, 0)
  const warmups = form.load.filter(isWarmup)
  const plan: LoadPlan = {
    arrival,
    requests,
    warmupRequests,
    requestsPerUnit: byDefault ?? multiple(entry.requests),
    warmupPerUnit: warmups.length === 1 ? multiple(warmups[0]!.requests ?? '1x') : null,
    staggerAskedMs: staggerMs(entry),
    maxSecs: entry.max ?? null,
  }
  return { plan, sweep, search }
}

/** 2.5 of '2.5x'; null for a plain count. */
function multiple(count: string | number | undefined): number | null {
  return typeof count === 'string' ? Number.parseFloat(count) : null
}

/** As asked, ms; null: not asked. */
function staggerMs(entry: LoadForm): number | null {
  return entry.stagger === undefined ? null : Math.round(entry.stagger * 1e6) / 1e3
}

/** What '2x' multiplies: the concurrency, or in open loop the arrivals of one second. */
export function countUnit(arrival: Arrival): number {
  if (arrival.kind === 'closed') return arrival.concurrency
  return arrival.kind === 'open' ? Math.max(1, arrival.stages[0]!.fromRate) : 1
}

export function isWarmup(entry: LoadForm): boolean {
  return entry.phase === 'warmup' || entry.measure === false
}

function buildSweep(entry: LoadForm, fail: Fail, path: Path): Sweep | null {
  if (entry.sweep === undefined) return null
  const { concurrency, rate } = entry.sweep
  if ((concurrency === undefined) === (rate === undefined)) {
    throw fail([...path, 'sweep'], 'a sweep runs over concurrency or over rate')
  }
  return concurrency === undefined
    ? { variable: 'rate', values: rate! }
    : { variable: 'concurrency', values: concurrency }
}

function buildSearch(entry: LoadForm, fail: Fail, path: Path): Search | null {
  if (entry.search === undefined) return null
  const { concurrency, rate, probes } = entry.search
  if ((concurrency === undefined) === (rate === undefined)) {
    throw fail([...path, 'search'], 'a search runs over rate or over concurrency, from [low, high]')
  }
  const [low, high] = (rate ?? concurrency)!
  if (low >= high) throw fail([...path, 'search'], 'search [low, high]: low must be below high')
  return { variable: rate === undefined ? 'concurrency' : 'rate', low, high, maxProbes: probes ?? 10 }
}

function buildArrival(entry: LoadForm, sweep: Sweep | null, search: Search | null, fail: Fail, path: Path): Arrival {
  const variable = sweep?.variable ?? search?.variable ?? null
  const first = sweep?.values[0] ?? search?.low
  const concurrency = variable === 'concurrency' ? first : entry.concurrency
  const rate = variable === 'rate' ? first : entry.rate
  const given = { concurrency, rate, ramp: entry.ramp, stages: entry.stages, replay: entry.replay }
  const kinds = Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [name]))
  if (kinds.length !== 1) {
    const found = kinds.length === 0 ? 'none' : kinds.join(' and ')
    throw fail(path, `a load entry has one of concurrency, rate, ramp, stages, replay; found ${found}`)
  }
  if (entry.stagger !== undefined && concurrency === undefined) {
    throw fail(
      [...path, 'stagger'],
      'stagger spreads the first wave of a closed loop; an open loop has its own arrivals',
    )
  }
  const cap = entry.cap ?? DEFAULT_CAP
  if (concurrency !== undefined) {
    const think = entry.think_ms
    const thinkMs =
      think === undefined ? null : buildDistribution(think, 0, () => fail([...path, 'think_ms'], 'min is above max'))
    return { kind: 'closed', concurrency, thinkMs, staggerMs: staggerMs(entry) ?? defaultStaggerMs(concurrency) }
  }
  if (entry.replay !== undefined) {
    return { kind: 'replay', file: entry.replay, format: entry.format ?? null, scale: entry.scale ?? 1, cap }
  }
  const process = entry.arrivals ?? 'poisson'
  if (entry.burstiness !== undefined && process !== 'gamma') {
    throw fail([...path, 'burstiness'], 'burstiness belongs to arrivals: gamma')
  }
  return { kind: 'open', process, burstiness: entry.burstiness ?? 1, stages: buildStages(entry, rate, fail, path), cap }
}

function buildStages(entry: LoadForm, rate: number | undefined, fail: Fail, path: Path): RateStage[] {
  if (rate !== undefined) {
    const bounded = entry.requests === undefined && entry.min_requests === undefined
    return [{ fromRate: rate, toRate: rate, secs: bounded ? (entry.max ?? null) : null }]
  }
  if (entry.ramp !== undefined) {
    if (entry.over === undefined) throw fail(path, 'a ramp needs over: TIME')
    return [{ fromRate: entry.ramp[0], toRate: entry.ramp[1], secs: entry.over }]
  }
  return entry.stages!.map((stage) => ({ fromRate: stage.rate, toRate: stage.to ?? stage.rate, secs: stage.for }))
}
