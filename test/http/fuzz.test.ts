import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Answer, Api, expectError, parseEvents } from './conformance/api.js'
import type { Target } from './conformance/target.js'
import { MODEL, type ScriptedServer, startScripted } from './scripted-server.js'

let server: ScriptedServer
const api = () => new Api({ url: server.url, port: server.port, model: MODEL } as Target)
beforeAll(async () => {
  server = await startScripted()
})
afterAll(() => server.close())

const NUMBERS = [-1, 0, 1, 2, 0.5, 16, 17, 20, 21, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), 2 ** 53, -(2 ** 63), 1e308, -0]
const hostile = fc.oneof(
  fc.constantFrom<unknown>(...NUMBERS, '', '1', 'auto', 'none', true, false, null, [], {}, [[]], [{}], [null]),
  fc.jsonValue({ maxDepth: 3 }),
)
/** Every field with values that belong there; the mutator puts a hostile one into some. */
const FIELDS: Record<string, fc.Arbitrary<unknown>> = {
  prompt: fc.oneof(fc.string(), fc.array(fc.nat(299), { maxLength: 5 }), fc.array(fc.string(), { maxLength: 3 })),
  messages: fc.array(fc.record({ role: fc.constantFrom('user', 'system'), content: fc.string() }), { maxLength: 3 }),
  model: fc.constantFrom(MODEL, 'other'),
  max_tokens: fc.integer({ min: 1, max: 12 }),
  max_completion_tokens: fc.integer({ min: 1, max: 12 }),
  temperature: fc.float({ min: 0, max: 2, noNaN: true }),
  top_p: fc.float({ min: 0, max: 1, noNaN: true }),
  top_k: fc.integer({ min: -1, max: 50 }),
  min_p: fc.float({ min: 0, max: 1, noNaN: true }),
  seed: fc.integer(),
  stop: fc.oneof(fc.string({ minLength: 1 }), fc.array(fc.string({ minLength: 1 }), { maxLength: 4 })),
  stream: fc.boolean(),
  stream_options: fc.record({ include_usage: fc.boolean() }),
  n: fc.integer({ min: 1, max: 4 }),
  logprobs: fc.oneof(fc.boolean(), fc.nat(20)),
  top_logprobs: fc.nat(20),
  echo: fc.boolean(),
  presence_penalty: fc.float({ min: -2, max: 2, noNaN: true }),
  frequency_penalty: fc.float({ min: -2, max: 2, noNaN: true }),
  repetition_penalty: fc.float({ min: Math.fround(0.1), max: 2, noNaN: true }),
  ignore_eos: fc.boolean(),
  min_tokens: fc.nat(4),
  stop_token_ids: fc.array(fc.nat(299), { maxLength: 3 }),
  include_stop_str_in_output: fc.boolean(),
  skip_special_tokens: fc.boolean(),
  return_token_ids: fc.boolean(),
  priority: fc.integer({ min: -5, max: 5 }),
  tools: fc.constant([{}]),
  tool_choice: fc.constantFrom('none', 'auto'),
  response_format: fc.constant({ type: 'text' }),
  logit_bias: fc.constant({}),
  suffix: fc.string(),
  user: fc.string(),
}
const NAMES = Object.keys(FIELDS)
/** A good request, some fields more, and now and then a hostile one. */
const bodies = fc
  .tuple(
    fc.subarray(NAMES, { maxLength: 5 }).chain((names) => fc.record(pick(names))),
    fc.dictionary(fc.constantFrom(...NAMES), hostile, { maxKeys: 1 }),
  )
  .map(([some, mutation]) => ({
    prompt: 'The fox',
    messages: [{ role: 'user', content: 'Hi' }],
    tokens: [70],
    max_tokens: 4,
    ...some,
    ...mutation,
  }))
const PATHS = ['/v1/completions', '/v1/chat/completions', '/tokenize', '/detokenize']

function pick(names: string[]): Record<string, fc.Arbitrary<unknown>> {
  return Object.fromEntries(names.map((name) => [name, FIELDS[name]]))
}

/** 200 whole and well formed, or a small error object; never a 5xx. */
function expectSound(answer: Answer): void {
  if (answer.status !== 200) {
    expect([400, 404]).toContain(answer.status)
    expectError(answer, answer.status)
  } else if (answer.json === null) {
    const events = parseEvents(answer.text)
    expect(events.at(-1)?.data).toBe('[DONE]')
  }
}

it('answers every mutated request with 200, 400 or 404, and loses none', { timeout: 120_000 }, async () => {
  let accepted = 0
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...PATHS), bodies, async (path, body) => {
      const answer = await api().post(path, body)
      if (answer.status === 200) accepted++
      expectSound(answer)
    }),
    { numRuns: 5000 },
  )
  // Both sides of the line were met.
  expect(accepted).toBeGreaterThan(50)
  expect(server.errors).toEqual([])
  expect(server.server.context.inFlight).toBe(0)
  expect(server.engine.stats().running).toBe(0)
})

it('answers every field with every extreme value', async () => {
  for (const name of Object.keys(FIELDS)) {
    for (const value of ['-1', '0', '1e309', '-1e309', '9007199254740993', '2147483648', '"1"', '1.5', '[]', '{}']) {
      for (const path of PATHS.slice(0, 2)) {
        const base = path === '/v1/completions' ? { prompt: 'a' } : { messages: [{ role: 'user', content: 'a' }] }
        const rest = Object.entries({ max_tokens: 4, ...base }).filter(([key]) => key !== name)
        const text = `{${[...rest.map(([key, each]) => `"${key}":${JSON.stringify(each)}`), `"${name}":${value}`].join()}}`
        expectSound(await api().post(path, text))
      }
    }
  }
  expect(server.errors).toEqual([])
})
