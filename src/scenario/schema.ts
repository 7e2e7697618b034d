import { z } from 'zod'
import { parseCi95, parseLimit, parseRate, parseSeconds, parseShare } from './quantity.js'
import { SCENARIO_SCHEMA } from './types.js'

/**
 * The YAML form of a scenario. Five nouns: workload (what is sent), load (when), slo, cache, seeds and repeats. Unknown keys are errors.
 * Shorthands (`input: 1024`, `load: {...}`) are widened by `widen` before this schema is applied, so that every error has one plain cause.
 */
const quantity = <T>(parse: (value: unknown) => T | null, example: string) =>
  z.unknown().transform((value, context) => {
    const parsed = parse(value)
    if (parsed !== null) return parsed
    context.addIssue({ code: 'custom', message: `${JSON.stringify(value)} is not ${example}` })
    return z.NEVER
  })

const seconds = quantity(parseSeconds, "a time such as '120s', '2m' or a number of seconds")
const rate = quantity(parseRate, "a rate such as '8/s' or a number of requests a second")
const share = quantity(parseShare, "a share such as '0.1%' or 0.001")
const limit = quantity(parseLimit, "a limit such as 'p99<2000ms' or '200ms'")
const count = z.union([z.int().min(0), z.string().regex(/^\s*\d+(\.\d+)?\s*x\s*$/, "expected a count or '2x'")], {
  error: "expected a count of requests or a multiple of the concurrency such as '2x'",
})

const positive = z.int().min(1)
const bounds = { min: z.number().min(0).optional(), max: z.number().min(1).optional() }
export const distributionForms = {
  fixed: z.strictObject({ dist: z.literal('fixed'), value: z.number().min(0) }),
  uniform: z.strictObject({ dist: z.literal('uniform'), min: z.number().min(0), max: z.number().min(0) }),
  lognormal: z.strictObject({
    dist: z.literal('lognormal'),
    mean: z.number().positive(),
    cv: z.number().min(0).optional(),
    sd: z.number().min(0).optional(),
    ...bounds,
  }),
  normal: z.strictObject({
    dist: z.literal('normal'),
    mean: z.number().positive(),
    cv: z.number().min(0).optional(),
    sd: z.number().min(0).optional(),
    ...bounds,
  }),
  exponential: z.strictObject({ dist: z.literal('exponential'), mean: z.number().positive(), ...bounds }),
}
const forms = distributionForms
const distribution = z.discriminatedUnion('dist', [
  forms.fixed,
  forms.uniform,
  forms.lognormal,
  forms.normal,
  forms.exponential,
])
/** `enforce` stands beside the output distribution; `widen` moves it out. */
const shape = {
  input: distribution.optional(),
  output: distribution.optional(),
  prefix: z.strictObject({ groups: positive, tokens: positive, share: z.number().min(0).max(1).optional() }).optional(),
  conversation: z.strictObject({ turns: distribution, think_ms: distribution.optional() }).optional(),
}

export const scenarioForm = z.strictObject({
  schema: z.literal(SCENARIO_SCHEMA, { error: `expected '${SCENARIO_SCHEMA}'` }).optional(),
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/i, 'a name has 1 to 64 letters, digits, dots or dashes')
    .optional(),
  description: z.string().max(500).optional(),
  origin: z.string().max(500).optional(),
  workload: z.strictObject({
    kind: z.enum(['synthetic', 'dataset', 'trace']).optional(),
    prompt: z.enum(['ids', 'text']).optional(),
    enforce: z.enum(['ignore_eos', 'min_tokens', 'none']).optional(),
    ...shape,
    mix: z.array(z.strictObject({ weight: z.number().positive(), ...shape })).optional(),
    dataset: z
      .strictObject({
        file: z.string().min(1),
        format: z.enum(['sharegpt', 'prompts']),
        max_input: positive.optional(),
        max_total: positive.optional(),
      })
      .optional(),
  }),
  load: z
    .array(
      z.strictObject({
        phase: z.enum(['warmup', 'steady', 'measure']).optional(),
        measure: z.boolean().optional(),
        concurrency: positive.max(100_000).optional(),
        think_ms: distribution.optional(),
        stagger: seconds.optional(),
        requests: count.optional(),
        min_requests: positive.optional(),
        max: seconds.optional(),
        rate: rate.optional(),
        arrivals: z.enum(['poisson', 'constant', 'gamma']).optional(),
        burstiness: z.number().positive().optional(),
        cap: positive.optional(),
        ramp: z.tuple([rate, rate]).optional(),
        over: seconds.optional(),
        stages: z
          .array(z.strictObject({ rate: rate, to: rate.optional(), for: seconds }))
          .min(1)
          .optional(),
        replay: z.string().min(1).optional(),
        format: z.enum(['mooncake', 'azure', 'burstgpt', 'jsonl']).optional(),
        scale: z.number().positive().optional(),
        sweep: z
          .strictObject({ concurrency: z.array(positive).min(1).optional(), rate: z.array(rate).min(1).optional() })
          .optional(),
        search: z
          .strictObject({
            rate: z.tuple([rate, rate]).optional(),
            concurrency: z.tuple([positive, positive]).optional(),
            meet: z.literal('slo').optional(),
            probes: positive.max(50).optional(),
          })
          .optional(),
      }),
    )
    .min(1)
    .max(20),
  slo: z
    .strictObject({
      preset: z.string().optional(),
      ttft: limit.optional(),
      ttft_intended: limit.optional(),
      tpot: limit.optional(),
      itl: limit.optional(),
      e2e: limit.optional(),
      errors: share.optional(),
    })
    .optional(),
  cache: z.enum(['cold', 'shared', 'warm', 'as-is']).optional(),
  seeds: z
    .strictObject({
      arrivals: z.int().min(0).optional(),
      lengths: z.int().min(0).optional(),
      content: z.int().min(0).optional(),
    })
    .optional(),
  repeats: z
    .strictObject({
      min: positive.max(100).optional(),
      max: positive.max(100).optional(),
      until: quantity(parseCi95, "of the form 'ci95<2%'").optional(),
    })
    .optional(),
  sampling: z
    .strictObject({
      temperature: z.number().min(0).max(2).optional(),
      top_p: z.number().gt(0).max(1).optional(),
      seed: z.int().min(0).optional(),
    })
    .optional(),
  timeouts: z
    .strictObject({
      connect: seconds.optional(),
      headers: seconds.optional(),
      first_token: seconds.optional(),
      stall: seconds.optional(),
      request: seconds.optional(),
    })
    .optional(),
  min_window: seconds.optional(),
})
export type ScenarioForm = z.output<typeof scenarioForm>

/** Widens the shorthands in place of a raw tree: numbers to fixed distributions, a single load entry to a list, a preset name to an SLO. */
export function widen(raw: unknown): unknown {
  if (!isRecord(raw)) return raw
  const form: Record<string, unknown> = { ...raw }
  if (isRecord(form['workload'])) form['workload'] = widenWorkload(form['workload'])
  if (typeof form['load'] === 'number') form['load'] = { concurrency: form['load'] }
  if (isRecord(form['load'])) form['load'] = [form['load']]
  if (Array.isArray(form['load'])) form['load'] = form['load'].map(widenLoad)
  if (typeof form['slo'] === 'string') form['slo'] = { preset: form['slo'] }
  if (typeof form['repeats'] === 'number') form['repeats'] = { min: form['repeats'], max: form['repeats'] }
  if (typeof form['seeds'] === 'number') {
    const seed = form['seeds']
    form['seeds'] = { arrivals: seed, lengths: seed + 1, content: seed + 2 }
  }
  return form
}

function widenWorkload(raw: Record<string, unknown>): Record<string, unknown> {
  const workload = widenShape(raw)
  const output = workload['output']
  if (isRecord(output) && 'enforce' in output) {
    const { enforce, ...rest } = output
    workload['output'] = rest
    workload['enforce'] ??= enforce
  }
  if (Array.isArray(workload['mix'])) {
    workload['mix'] = workload['mix'].map((entry) => (isRecord(entry) ? widenShape(entry) : entry))
  }
  return workload
}

function widenShape(raw: Record<string, unknown>): Record<string, unknown> {
  const shape = { ...raw }
  for (const key of ['input', 'output']) if (typeof shape[key] === 'number') shape[key] = fixed(shape[key])
  if (isRecord(shape['conversation'])) {
    const conversation: Record<string, unknown> = { ...shape['conversation'] }
    for (const key of ['turns', 'think_ms']) {
      if (typeof conversation[key] === 'number') conversation[key] = fixed(conversation[key])
    }
    shape['conversation'] = conversation
  }
  return shape
}

function widenLoad(raw: unknown): unknown {
  if (!isRecord(raw)) return raw
  return typeof raw['think_ms'] === 'number' ? { ...raw, think_ms: fixed(raw['think_ms']) } : raw
}

function fixed(value: unknown): Record<string, unknown> {
  return { dist: 'fixed', value }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
