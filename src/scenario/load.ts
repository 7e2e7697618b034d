import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Failure, nearest } from '../failure.js'
import { isWarmup } from './build-load.js'
import { deepFreeze, parseScenario } from './parse.js'
import type { ScenarioForm } from './schema.js'
import type { ArrivalProcess, CachePolicy, OutputEnforcement, PromptKind, Scenario } from './types.js'

/** What the command line may change of a scenario; each field as on the command line. */
export interface ScenarioOverrides {
  concurrency?: number
  /** Closed loop: the first wave begins over this time. */
  staggerMs?: number
  rate?: number
  arrivals?: ArrivalProcess
  burstiness?: number
  cap?: number
  requests?: number | string
  warmupRequests?: number | string
  maxSecs?: number
  inputTokens?: number
  outputTokens?: number
  enforce?: OutputEnforcement
  prompt?: PromptKind
  cache?: CachePolicy
  seed?: number
  temperature?: number
  repeats?: number
  /** An SLO preset's name. */
  slo?: string
  requestTimeoutSecs?: number
}

/**
 * A preset name or a file, with overrides applied -> frozen Scenario. Files named inside (dataset, replay) resolve against the scenario's folder.
 * Throws Failure: unknown name ('bad-scenario' with the nearest), unreadable file ('bad-file'), or what parseScenario throws.
 */
export function loadScenario(request: { source: string; overrides?: ScenarioOverrides }): Scenario {
  const file = scenarioFile(request.source)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new Failure('bad-file', `cannot read ${file}: ${(cause as Error).message}`, null, { cause })
  }
  const overrides = request.overrides ?? {}
  const label = request.source === basename(file, '.yaml') ? basename(file) : request.source
  const scenario = parseScenario(text, label, (form) => applyOverrides(form, overrides))
  return withAbsoluteFiles(scenario, dirname(file))
}

/** Names of the shipped scenarios, sorted. */
export function presetNames(): string[] {
  return readdirSync(presetFolder())
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => name.slice(0, -'.yaml'.length))
    .sort()
}

/** The scenario of a bare `bench run`: a shorter chat without a GPU. */
export function chooseDefaultPreset(backend: 'cpu' | 'cuda'): string {
  return backend === 'cuda' ? 'chat' : 'chat-cpu'
}

function scenarioFile(source: string): string {
  if (source.includes('/') || /\.(ya?ml)$/.test(source)) return resolve(source)
  const names = presetNames()
  if (names.includes(source)) return join(presetFolder(), `${source}.yaml`)
  const guess = nearest(source, names)
  const hint = guess === null ? `presets: ${names.join(', ')}` : `did you mean '${guess}'?`
  throw new Failure('bad-scenario', `unknown scenario '${source}'; ${hint}`, 'bench scenario list')
}

/** scenarios/ stands beside src/ in a checkout and beside dist/ in a build. */
function presetFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  for (let level = 0; level < 5; level++) {
    if (existsSync(join(folder, 'scenarios', 'smoke.yaml'))) return join(folder, 'scenarios')
    folder = dirname(folder)
  }
  throw new Failure('bad-file', 'the scenarios folder is missing from this installation')
}

function applyOverrides(form: ScenarioForm, overrides: ScenarioOverrides): void {
  const measured = form.load.find((entry) => !isWarmup(entry))
  if (measured === undefined) return
  const { concurrency, rate, arrivals, burstiness, cap, requests, maxSecs, warmupRequests } = overrides
  if (concurrency !== undefined || rate !== undefined) {
    for (const key of ['concurrency', 'rate', 'ramp', 'over', 'stages', 'replay', 'sweep', 'search'] as const) {
      delete measured[key]
    }
    if (concurrency !== undefined) {
      measured.concurrency = concurrency
      for (const key of ['arrivals', 'burstiness', 'cap'] as const) delete measured[key]
    }
    if (rate !== undefined) {
      measured.rate = rate
      delete measured.think_ms
      delete measured.stagger
    }
    for (const entry of form.load) if (isWarmup(entry)) delete entry.concurrency
  }
  if (concurrency !== undefined && rate !== undefined) {
    throw new Failure('usage', '--concurrency and --rate exclude each other: a load is a closed or an open loop')
  }
  const stagger = overrides.staggerMs === undefined ? undefined : overrides.staggerMs / 1000
  Object.assign(measured, defined({ arrivals, burstiness, cap, requests, max: maxSecs, stagger }))
  if (requests !== undefined) delete measured.min_requests
  if (warmupRequests !== undefined) {
    form.load = [{ phase: 'warmup', requests: warmupRequests }, measured]
  }
  const workload = form.workload
  for (const [key, tokens] of [
    ['input', overrides.inputTokens],
    ['output', overrides.outputTokens],
  ] as const) {
    if (tokens === undefined) continue
    workload[key] = { dist: 'fixed', value: tokens }
    for (const entry of workload.mix ?? []) delete entry[key]
  }
  Object.assign(workload, defined({ enforce: overrides.enforce, prompt: overrides.prompt }))
  Object.assign(form, defined({ cache: overrides.cache }))
  if (overrides.seed !== undefined) {
    form.seeds = { arrivals: overrides.seed, lengths: overrides.seed + 1, content: overrides.seed + 2 }
    form.sampling = { ...form.sampling, seed: overrides.seed }
  }
  if (overrides.temperature !== undefined) form.sampling = { ...form.sampling, temperature: overrides.temperature }
  if (overrides.repeats !== undefined) form.repeats = { min: overrides.repeats, max: overrides.repeats }
  if (overrides.slo !== undefined) form.slo = { preset: overrides.slo }
  if (overrides.requestTimeoutSecs !== undefined)
    form.timeouts = { ...form.timeouts, request: overrides.requestTimeoutSecs }
}

function defined<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>
}

function withAbsoluteFiles(scenario: Scenario, folder: string): Scenario {
  const absolute = (file: string) => (isAbsolute(file) ? file : resolve(folder, file))
  const { dataset } = scenario.workload
  const { arrival } = scenario.load
  return deepFreeze({
    ...scenario,
    workload: { ...scenario.workload, dataset: dataset && { ...dataset, file: absolute(dataset.file) } },
    load: {
      ...scenario.load,
      arrival: arrival.kind === 'replay' ? { ...arrival, file: absolute(arrival.file) } : arrival,
    },
  })
}
