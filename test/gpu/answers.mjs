#!/usr/bin/env node
// Greedy answers of both engines, through HTTP, over the same mixed requests, while the paged engine preempts, hits its prefix cache and
// cuts prompts into chunks (checked from its step trace). With --deterministic they must be equal, all of them. In the fast mode kernels
// are chosen by batch size, so rounding differs: then the share of requests that differ is printed, and at each first difference the two
// logits between which the engines chose must be closer than the tolerance (asked of the paged engine: log-probabilities of that prefix).
//   node test/gpu/answers.mjs [--model llama-3-8b] [--backend cuda] [--dtype bf16] [--requests 256] [--mode both] [--json FILE]
// Exit code 1: a promise is broken.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { PRESETS } from '../../dist/engines/model/presets.js'
import { complete, spawnEngine } from './engine.mjs'
import { draws, lognormal, promptOf } from './requests.mjs'

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: 'llama-3-8b' },
    backend: { type: 'string', default: 'cuda' },
    dtype: { type: 'string', default: 'bf16' },
    requests: { type: 'string', default: '256' },
    mode: { type: 'string', default: 'both' },
    json: { type: 'string' },
  },
})
const BUDGET = 256
const CONTEXT = 1024
const config = PRESETS[flags.model]
/**
 * How far apart, in nats, two logits may be and still change places. Each logit carries a rounding error of standard deviation
 * e = 2e-2 of the logits' root mean square (the limit that logits.py holds them to; for these random weights the root mean square is
 * 0.02 sqrt(d)). The gap between two logits differs between two engines by four such errors: standard deviation 2 e. Some 10^4 to 10^5
 * close gaps are compared, so 4.5 deviations (7e-6) bound them.
 */
const TOLERANCE_NATS = 4.5 * 2 * 2e-2 * 0.02 * Math.sqrt(config.hiddenSize)
const folder = mkdtempSync(join(tmpdir(), 'answers-'))
const requests = mixedRequests(Number(flags.requests))
const needed = requests.reduce((sum, { prompt, output }) => sum + prompt.length + output, 0)
const bytesPerToken = 2 * config.layers * config.kvHeads * config.headDim * (flags.dtype === 'f32' ? 4 : 2)
const common = [
  '--model',
  flags.model,
  '--backend',
  flags.backend,
  '--dtype',
  flags.dtype,
  '--seed',
  '1',
  '--max-model-len',
  String(CONTEXT),
]
const results = {}
const broken = []
for (const mode of flags.mode === 'both' ? ['deterministic', 'fast'] : [flags.mode]) {
  const args = [...common, ...(mode === 'deterministic' ? ['--deterministic'] : [])]
  const fixed = await run(`${mode} static`, [
    ...args,
    '--engine',
    'static',
    '--batch-size',
    '64',
    '--kv-cache-bytes',
    String(66 * CONTEXT * bytesPerToken),
  ])
  const paged = await run(`${mode} paged`, [...args, ...pagedArguments()], mode, (engine, answers) =>
    explain(engine, fixed.answers, answers),
  )
  results[mode] = paged.result
}
rmSync(folder, { recursive: true })
if (flags.json)
  writeFileSync(
    flags.json,
    JSON.stringify({
      model: flags.model,
      requests: requests.length,
      toleranceNats: TOLERANCE_NATS,
      broken,
      ...results,
    }),
  )
for (const line of broken) console.log(`FAILED: ${line}`)
console.log(broken.length === 0 ? 'answers: as promised' : 'answers: FAILED')
process.exit(broken.length === 0 ? 0 : 1)

/** A cache for an eighth of all requests, so that running ones are preempted; chunks of BUDGET tokens. */
function pagedArguments() {
  const kvTokens = Math.max(2 * CONTEXT, Math.ceil(needed / 8 / 16) * 16)
  return [
    ...['--engine', 'paged', '--kv-cache-bytes', String(kvTokens * bytesPerToken), '--max-num-seqs', '128'],
    ...['--max-num-batched-tokens', String(BUDGET), '--step-trace', join(folder, 'steps.jsonl')],
  ]
}

/** Starts an engine, asks it everything at once, and lets `then` ask on before it is stopped. */
async function run(name, args, mode = null, then = async () => null) {
  const started = performance.now()
  const engine = spawnEngine(args, { limitMs: 90_000 })
  try {
    const { url, model, info } = await engine.ready
    const begun = performance.now()
    const answers = await Promise.all(requests.map(({ prompt, output }) => complete(url, model, prompt, output)))
    const secs = (performance.now() - begun) / 1e3
    const tokens = answers.reduce((sum, answer) => sum + answer.tokens.length, 0)
    console.log(
      `${name}: ready after ${((begun - started) / 1e3).toFixed(1)} s on ${info.deviceName}; ${answers.length} answers, ${tokens} tokens in ${secs.toFixed(1)} s`,
    )
    for (const [i, { output }] of requests.entries())
      if (answers[i].tokens.length !== output)
        broken.push(`${name}: answer ${i} has ${answers[i].tokens.length} of ${output} tokens`)
    const result = mode === null ? null : { ...(await then({ url, model, mode }, answers)) }
    await engine.stop()
    if (mode !== null) result.trace = checkTrace(name)
    return { answers, result }
  } catch (error) {
    await engine.stop()
    throw new Error(`${name}: ${error.message}\n${engine.log().slice(-2000)}`)
  }
}

/** Which answers differ, where first, and how close the two tokens were there. */
async function explain({ url, model, mode }, expected, answers) {
  const differences = []
  for (const [i, { prompt, output }] of requests.entries()) {
    const at = expected[i].tokens.findIndex((token, k) => token !== answers[i].tokens[k])
    if (at < 0) continue
    const pair = [expected[i].tokens[at], answers[i].tokens[at]]
    differences.push({ request: i, promptTokens: prompt.length, outputTokens: output, at, pair })
  }
  const share = differences.length / requests.length
  const tokens = answers.reduce((sum, answer) => sum + answer.tokens.length, 0)
  const distinct = new Set(answers.flatMap((answer) => answer.tokens)).size
  console.log(
    `${mode}: ${differences.length} of ${requests.length} answers differ (${(100 * share).toFixed(1)} %); ${distinct} distinct tokens among ${tokens}`,
  )
  if (mode === 'deterministic' && differences.length > 0)
    broken.push(`deterministic: ${differences.length} answers differ; first ${JSON.stringify(differences[0])}`)
  for (const difference of differences)
    difference.gapNats = await gap(
      { url, model },
      requests[difference.request].prompt,
      answers[difference.request].tokens,
      difference,
    )
  const gaps = differences.map(({ gapNats }) => gapNats).sort((a, b) => a - b)
  if (gaps.length > 0) {
    const positions = differences.map(({ at }) => at).sort((a, b) => a - b)
    console.log(
      `${mode}: first difference at token ${positions[0]}, median ${positions[positions.length >> 1]}; gap there: median ${gaps[gaps.length >> 1].toFixed(4)}, largest ${gaps.at(-1).toFixed(4)} nats (tolerance ${TOLERANCE_NATS.toFixed(4)})`,
    )
    for (const { request, at, pair, gapNats } of differences)
      if (!(gapNats <= TOLERANCE_NATS))
        broken.push(
          `${mode}: request ${request} differs at token ${at} (${pair}) although the logits are ${gapNats.toFixed(4)} nats apart`,
        )
  }
  return { differing: differences.length, share, distinctTokens: distinct, differences }
}

/** Nats between the two tokens of a difference, given the prefix both engines agreed on. Infinity: one is not among the top 20. */
async function gap({ url, model }, prompt, tokens, { at, pair }) {
  const { logprobs } = await complete(url, model, [...prompt, ...tokens.slice(0, at)], 1, { logprobs: 20 })
  const top = logprobs.top_logprobs[0]
  const whole = Object.keys(top).length >= 20 // fewer: two parts of characters share one text, and it cannot be told whose figure stands there
  const [a, b] = pair.map((id) =>
    id < 128 ? top[String.fromCharCode(id)] : id >= 256 ? top[`<${id}>`] : whole ? top['\ufffd'] : undefined,
  )
  return a === undefined || b === undefined ? Number.POSITIVE_INFINITY : Math.abs(a - b)
}

/** That it was no easy run: preemptions, prefix hits, prompts in chunks, prefill and decode in one step. */
function checkTrace(name) {
  const records = readFileSync(join(folder, 'steps.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const steps = records.filter(({ kind }) => kind === 'step')
  const sum = (field) => steps.reduce((total, step) => total + step[field], 0)
  const facts = {
    steps: steps.length,
    preemptions: sum('preemptions'),
    cachedTokens: sum('cachedTokens'),
    mixedSteps: steps.filter((step) => step.prefillTokens > 0 && step.decodeTokens > 0).length,
    chunkedPrompts: records.filter(
      (record) => record.kind === 'request' && record.promptTokens - record.cachedTokens > BUDGET,
    ).length,
  }
  console.log(
    `${name}: ${Object.entries(facts)
      .map(([key, value]) => `${key} ${value}`)
      .join(', ')}`,
  )
  for (const [fact, count] of Object.entries(facts)) if (count === 0) broken.push(`${name}: no ${fact}`)
  return facts
}

/** Lognormal lengths; every third prompt begins with one of four shared prefixes, every 40th is longer than a step's budget. */
function mixedRequests(count) {
  const draw = draws(11)
  const { vocabSize } = config
  return Array.from({ length: count }, (_, i) => {
    const length = i % 40 === 7 ? BUDGET + 90 : lognormal(draw, 70, 0.8, 400)
    const prefix = i % 3 === 0 ? promptOf(96, 500 + (i % 4), vocabSize) : []
    return { prompt: [...prefix, ...promptOf(length, 1000 + i, vocabSize)], output: lognormal(draw, 40, 0.7, 128) }
  })
}
