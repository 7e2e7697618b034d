import { Failure } from '../failure.js'
import type { ScenarioOverrides } from '../scenario/load.js'
import type { ArrivalProcess, CachePolicy, PromptKind } from '../scenario/types.js'
import { engineArguments } from './engine-flags.js'

/** Everything `bench run` was asked, typed; nothing of the command line is looked at after this. */
export interface RunRequest {
  /** Scenario file or preset; null: by backend. */
  scenario: string | null
  overrides: ScenarioOverrides
  targets: string[]
  model: string | null
  engineArgs: string[]
  api: 'completions' | 'chat'
  apiKey: string | null
  loadWorkers: number | null
  keepOutput: boolean
  out: string | null
  exportPlan: string | null
  dryRun: boolean
  ceilings: boolean
  calibrate: boolean
  quiet: boolean
  color: boolean
  ascii: boolean
  print: 'table' | 'json' | 'markdown'
  junit: string | null
}

export function parseRunRequest(scenario: string | null, flags: Record<string, unknown>): RunRequest {
  if (flags['concurrency'] !== undefined && (flags['rate'] ?? flags['requestRate']) !== undefined)
    throw new Failure('usage', '--concurrency is a closed loop, --rate an open one: give one of them')
  const targets = (flags['target'] as string[] | undefined) ?? ['static', 'paged']
  return {
    scenario,
    overrides: overridesOf(flags),
    targets,
    model: (flags['model'] as string | undefined) ?? null,
    engineArgs: engineArguments(flags),
    api: (flags['api'] as 'completions' | 'chat' | undefined) ?? 'completions',
    apiKey: process.env[flags['apiKeyEnv'] as string] ?? null,
    loadWorkers: (flags['loadWorkers'] as number | undefined) ?? null,
    keepOutput: flags['keepOutput'] === true || targets.filter((target) => !target.includes('://')).length > 1,
    out: (flags['out'] as string | undefined) ?? null,
    exportPlan: (flags['exportPlan'] as string | undefined) ?? null,
    dryRun: flags['dryRun'] === true,
    ceilings: flags['ceilings'] !== false,
    calibrate: flags['calibrate'] !== false,
    quiet: flags['quiet'] === true,
    color: flags['color'] !== false && !process.env['NO_COLOR'] && process.stdout.isTTY === true,
    ascii: flags['ascii'] === true,
    print: flags['json'] ? 'json' : flags['markdown'] ? 'markdown' : 'table',
    junit: (flags['junit'] as string | undefined) ?? null,
  }
}

/** '48' is a number of requests, '10x' ten times the concurrency. */
function count(text: string | undefined): number | string | undefined {
  if (text === undefined || /^\d+(\.\d+)?x$/.test(text)) return text
  if (/^\d+$/.test(text)) return Number(text)
  throw new Failure(
    'usage',
    `'${text}' is not a number of requests`,
    "for example 200, or '10x' for ten times the concurrency",
  )
}

/** Only the flags that were given: the scenario's own values stay otherwise. */
function overridesOf(flags: Record<string, unknown>): ScenarioOverrides {
  const overrides: Partial<Record<keyof ScenarioOverrides, unknown>> = {
    concurrency: flags['concurrency'] as number,
    staggerMs: flags['stagger'] as number,
    rate: (flags['rate'] ?? flags['requestRate']) as number,
    arrivals: flags['arrivals'] as ArrivalProcess,
    burstiness: flags['burstiness'] as number,
    requests: count((flags['requests'] ?? flags['numPrompts']) as string | undefined),
    warmupRequests: count(flags['warmup'] as string | undefined),
    maxSecs: flags['duration'] as number,
    inputTokens: flags['inputLen'] as number,
    outputTokens: flags['outputLen'] as number,
    prompt: flags['prompt'] as PromptKind,
    cache: flags['cache'] as CachePolicy,
    seed: flags['planSeed'] as number,
    temperature: flags['temperature'] as number,
    repeats: flags['repeats'] as number,
    slo: flags['slo'] as string,
    requestTimeoutSecs: flags['requestTimeout'] as number,
  }
  return Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== undefined)) as ScenarioOverrides
}
