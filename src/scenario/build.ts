import { Failure, nearest } from '../failure.js'
import { buildDistribution, type Fail } from './build-distribution.js'
import { buildLoad } from './build-load.js'
import type { ScenarioForm } from './schema.js'
import { SLO_PRESETS } from './slo.js'
import { type RequestShape, SCENARIO_SCHEMA, type Scenario, SLO_METRICS, type Slo } from './types.js'
import type { SourceTree } from './yaml.js'

/** Tokens asked for where neither the scenario nor its file says. */
const DEFAULT_OUTPUT = 128

/** Fills in defaults and checks what the schema alone cannot. Throws Failure('bad-scenario') with the place in the file. */
export function buildScenario(form: ScenarioForm, tree: SourceTree): Scenario {
  const fail = (path: (string | number)[], message: string) =>
    new Failure('bad-scenario', `${tree.where(path)}: ${message}`)
  const load = buildLoad(form, fail)
  const temperature = form.sampling?.temperature ?? 0
  const timeouts = form.timeouts ?? {}
  return {
    schema: SCENARIO_SCHEMA,
    name: form.name ?? tree.file.replace(/^.*\//, '').replace(/\.ya?ml$/, ''),
    description: form.description ?? '',
    origin: form.origin ?? null,
    workload: buildWorkload(form, fail),
    load: load.plan,
    sweep: load.sweep,
    search: load.search,
    slo: buildSlo(form, fail),
    cache: form.cache ?? 'cold',
    drops: form.drops ?? 'forbidden',
    seeds: {
      arrivals: form.seeds?.arrivals ?? 1,
      lengths: form.seeds?.lengths ?? 2,
      content: form.seeds?.content ?? 3,
    },
    repeats: buildRepeats(form, fail),
    sampling: { temperature, topP: form.sampling?.top_p ?? null, seed: form.sampling?.seed ?? 7 },
    timeouts: {
      connectSecs: timeouts.connect ?? 10,
      headerSecs: timeouts.headers ?? 600,
      firstTokenSecs: timeouts.first_token ?? 600,
      stallSecs: timeouts.stall ?? 120,
      requestSecs: timeouts.request ?? 3600,
    },
    minWindowSecs: form.min_window ?? 0,
  }
}

/** With `until`: 3 to 9 repeats, when the scenario does not say. */
const UNTIL_REPEATS = { min: 3, max: 9 }

function buildRepeats(form: ScenarioForm, fail: Fail): Scenario['repeats'] {
  const { min, max, until } = form.repeats ?? {}
  const least = min ?? (until === undefined ? 1 : Math.min(UNTIL_REPEATS.min, max ?? UNTIL_REPEATS.min))
  const most = max ?? (until === undefined ? least : Math.max(UNTIL_REPEATS.max, least))
  if (most < least) throw fail(['repeats'], 'repeats.max is below repeats.min')
  if (until !== undefined && most < 3)
    throw fail(
      ['repeats'],
      'repeats.until has no room: an interval needs two repeats, so repeats.max must be at least 3',
    )
  if (until !== undefined && most === least)
    throw fail(['repeats'], `repeats.until has no room: min and max are both ${most}`)
  return { min: least, max: most, untilCi95: until ?? null }
}

function buildWorkload(form: ScenarioForm, fail: Fail): Scenario['workload'] {
  const workload = form.workload
  const replayed = form.load.some((entry) => entry.replay !== undefined)
  const kind = workload.kind ?? (workload.dataset !== undefined ? 'dataset' : replayed ? 'trace' : 'synthetic')
  if (kind === 'dataset' && workload.dataset === undefined)
    throw fail(['workload'], 'kind dataset needs workload.dataset')
  if (kind === 'trace' && !replayed) throw fail(['workload'], 'kind trace needs a load entry with replay: FILE')
  const entries = workload.mix !== undefined && workload.mix.length > 0 ? workload.mix : [{ weight: 1, ...workload }]
  const shapes = entries.map((entry, index): RequestShape => {
    const path = workload.mix?.length ? ['workload', 'mix', index] : ['workload']
    const input = entry.input ?? workload.input
    const output = entry.output ?? workload.output
    const prefix = entry.prefix ?? workload.prefix
    const conversation = entry.conversation ?? workload.conversation
    if (kind === 'synthetic' && input === undefined) throw fail(path, 'input lengths are missing: give input: TOKENS')
    if (kind === 'synthetic' && output === undefined)
      throw fail(path, 'output lengths are missing: give output: TOKENS')
    return {
      weight: entry.weight,
      input: buildDistribution(input ?? { dist: 'fixed', value: 1 }, 1, () =>
        fail([...path, 'input'], 'min is above max'),
      ),
      output: buildDistribution(output ?? { dist: 'fixed', value: DEFAULT_OUTPUT }, 1, () =>
        fail([...path, 'output'], 'min is above max'),
      ),
      prefix: prefix === undefined ? null : { ...prefix, share: prefix.share ?? 1 },
      conversation:
        conversation === undefined
          ? null
          : {
              turns: buildDistribution(conversation.turns, 1, () => fail(path, 'turns: min is above max')),
              thinkMs: buildDistribution(conversation.think_ms ?? { dist: 'fixed', value: 0 }, 0, () =>
                fail(path, 'think_ms: min is above max'),
              ),
            },
    }
  })
  const dataset = workload.dataset
  return {
    kind,
    prompt: workload.prompt ?? (dataset === undefined ? 'ids' : 'text'),
    shapes,
    enforce: workload.enforce ?? 'ignore_eos',
    // ShareGPT limits of `vllm bench serve`: prompts to 1024 tokens, 2048 in total.
    dataset:
      dataset === undefined
        ? null
        : {
            file: dataset.file,
            format: dataset.format,
            maxInputTokens: dataset.max_input ?? 1024,
            maxTotalTokens: dataset.max_total ?? 2048,
          },
  }
}

function buildSlo(form: ScenarioForm, fail: Fail): Slo {
  const slo = form.slo ?? {}
  const preset = slo.preset === undefined ? null : SLO_PRESETS[slo.preset]
  if (preset === undefined) {
    const guess = nearest(slo.preset!, Object.keys(SLO_PRESETS))
    const hint = guess === null ? `known: ${Object.keys(SLO_PRESETS).join(', ')}` : `did you mean '${guess}'?`
    throw fail(['slo'], `unknown SLO preset '${slo.preset}'; ${hint}`)
  }
  const own = SLO_METRICS.flatMap((metric) => {
    const limit = slo[metric]
    return limit === undefined ? [] : [{ metric, ...limit }]
  })
  const kept = (preset?.terms ?? []).filter((term) => !own.some((mine) => mine.metric === term.metric))
  return {
    name: slo.preset ?? null,
    source: preset?.source ?? null,
    terms: [...kept, ...own],
    maxErrorShare: slo.errors ?? 0,
  }
}
