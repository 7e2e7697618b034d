#!/usr/bin/env node
// Logits of the whole model as the engine computes them on its way - whole and chunked prompts, captured and eager decode steps, prefix
// hits, recomputation after preemption, batches of 1 to 64, both engines - written out for logits.py, which has Hugging Face
// Transformers compute the same positions from the same random weights, teacher-forced with the tokens that were sampled here.
//   node test/gpu/logits.mjs --out DIR [--model llama-3-8b] [--layers N] [--backend cuda] [--dtype bf16] [--seed 1] [--small]
// DIR gets index.json and logits.f32 (rows of V floats). Exit code 1: a scenario did not do what it is named for.
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { assembleEngine } from '../../dist/engines/assemble.js'
import { decodeBuckets } from '../../dist/engines/decode-graphs.js'
import { openDevice } from '../../dist/engines/device.js'
import { GREEDY } from '../../dist/engines/engine.js'
import { Executor } from '../../dist/engines/executor.js'
import { PRESETS } from '../../dist/engines/model/presets.js'
import { randomWeights } from '../../dist/engines/model/random-weights.js'
import { OUTPUT_INTS } from '../../dist/engines/output-batch.js'
import { StatsBlock } from '../../dist/engines/stats-block.js'
import { promptOf } from './requests.mjs'

const { values: flags } = parseArgs({
  options: {
    out: { type: 'string' },
    model: { type: 'string', default: 'llama-3-8b' },
    layers: { type: 'string' },
    backend: { type: 'string', default: 'cuda' },
    dtype: { type: 'string', default: 'bf16' },
    seed: { type: 'string', default: '1' },
    small: { type: 'boolean', default: false },
  },
})
const OPTIONS = {
  ...{ engine: 'paged', model: flags.model, servedModelName: null, host: '', port: 0, apiKey: null, stepTrace: null },
  ...{
    backend: flags.backend,
    dtype: flags.dtype,
    seed: Number(flags.seed),
    threads: 0,
    cublaslt: 'auto',
    kernelChoices: 'none',
    fault: '',
  },
  ...{ maxModelLen: 2048, maxNumSeqs: 64, maxNumBatchedTokens: 2048, blockSize: 16, gpuMemoryUtilization: 0.9 },
  ...{ schedulingPolicy: 'fcfs', enablePrefixCaching: true, enableChunkedPrefill: true, asyncScheduling: false },
  ...{ longPrefillTokenThreshold: 0, batchSize: 8, staticMaxWaitMs: 0, staticVariant: 'literal', enforceEager: false },
  ...{ fusedKernels: true, deterministic: false, maxQueue: 4096 },
}
const kernels = await openDevice(OPTIONS, () => {})
// A tied output matrix with random weights repeats its input for ever.
const config = { ...PRESETS[flags.model], tiedEmbeddings: false, ...(flags.layers && { layers: Number(flags.layers) }) }
const weights = randomWeights(kernels, config, OPTIONS.seed)
const kvTokenBytes = 2 * config.layers * config.kvHeads * config.headDim * kernels.info.kvBytes
mkdirSync(flags.out, { recursive: true })
const file = openSync(join(flags.out, 'logits.f32'), 'w')
const index = {
  config,
  seed: OPTIONS.seed,
  dtype: kernels.info.dtype,
  device: kernels.info,
  scenarios: [],
  sequences: [],
  rows: [],
}

let recorder = null
observe(Executor.prototype)
for (const scenario of scenarios(flags.small)) run(scenario)
closeSync(file)
writeFileSync(join(flags.out, 'index.json'), JSON.stringify(index))
const failed = index.scenarios.filter(({ problem }) => problem !== null)
for (const { name, problem } of failed) console.log(`FAILED ${name}: ${problem}`)
console.log(
  `${index.rows.length} rows of ${config.vocabSize} logits, ${index.sequences.length} sequences, in ${flags.out}`,
)
process.exit(failed.length > 0 ? 1 : 0)

/** What is run: requests in waves, engine options, rows recorded per request (the first output and the last few), what must have happened. */
function scenarios(small) {
  const long = small ? 130 : 1000
  const lengths = (count) =>
    Array.from({ length: count }, (_, i) => [1, 17, 300, 33, 5, 64, long][i % 7] % (small ? 140 : 4096))
  const batch = (count, output) => [lengths(count).map((length, i) => ({ length, output, seed: 100 * count + i }))]
  const prefixed = (wave) =>
    Array.from({ length: 4 }, (_, i) => ({
      length: 40 + i,
      output: 8,
      seed: 40 + 10 * wave + i,
      prefix: small ? 64 : 304,
    }))
  const mixed = (facts) => facts.mixedSteps > 0
  const chunks = (facts) => facts.longestStep <= facts.budget && facts.chunkedPrompts > 0
  const crowd = [Array.from({ length: 12 }, (_, i) => ({ length: 30 + i, output: 90, seed: 700 + i }))]
  return [
    ...[1, 17, small ? 120 : 300, long].map((length, i) => ({
      name: `batch 1, prompt ${length}`,
      waves: [[{ length, output: 16, seed: 10 + i }]],
    })),
    { name: 'batch 1, eager', waves: [[{ length: 17, output: 16, seed: 20 }]], options: { enforceEager: true } },
    { name: 'batch 7', waves: batch(7, 10) },
    { name: 'batch 16', waves: batch(16, 10) },
    { name: 'batch 64', waves: batch(64, 6) },
    { name: 'chunks of 128', waves: batch(7, 8), options: { maxNumBatchedTokens: 128 }, expect: chunks },
    {
      name: 'chunks of 77',
      waves: batch(7, 8),
      options: { maxNumBatchedTokens: 77, maxNumSeqs: 16 },
      expect: (facts) => chunks(facts) && mixed(facts),
    },
    { name: 'prefix hits', waves: [prefixed(0), prefixed(1)], expect: (facts) => facts.cachedTokens > 0 },
    { name: 'after preemption', waves: crowd, kvTokens: 700, record: 5, expect: (facts) => facts.preemptions > 0 },
    { name: 'unfused', waves: batch(7, 6), options: { fusedKernels: false } },
    { name: 'block size 64', waves: batch(7, 6), options: { blockSize: 64 } },
    { name: 'static, batch 7', waves: batch(7, 10), options: { engine: 'static' } },
  ]
}

/** Runs one scenario on an engine of its own; rows and sequences go into the index, what happened into index.scenarios. */
function run({ name, waves, options = {}, kvTokens = 96_000, record = 6, expect = () => true }) {
  const merged = { ...OPTIONS, ...options, kvCacheBytes: kvTokens * kvTokenBytes }
  if (merged.engine === 'static') merged.kvCacheBytes = 9 * OPTIONS.maxModelLen * kvTokenBytes
  const facts = {
    preemptions: 0,
    cachedTokens: 0,
    longestStep: 0,
    mixedSteps: 0,
    chunkedPrompts: 0,
    budget: merged.maxNumBatchedTokens,
  }
  const answers = new Map()
  const ids = []
  const engine = assembleEngine(kernels, { id: flags.model, config, weights }, merged, {
    stats: new StatsBlock(),
    trace: { write: (record) => note(facts, record), tick() {}, close() {} },
    send: ({ ints }) => {
      for (let at = 0; at < ints.length; at += OUTPUT_INTS)
        if (ints[at + 1] >= 0) answers.get(ids[ints[at]]).push(ints[at + 1])
    },
    progress() {},
    depth: 0,
    // A CPU has no use for graphs, but records and replays them all the same.
    ...(kernels.info.backend === 'cpu' &&
      !merged.enforceEager && { buckets: decodeBuckets(merged.engine === 'static' ? 8 : merged.maxNumSeqs) }),
  })
  const started = performance.now()
  recorder = { record, requests: new Map(), rows: [], pending: [] }
  for (const wave of waves) {
    for (const { length, output, seed, prefix } of wave) {
      const id = `${name}/${ids.length}`
      const prompt = [
        ...(prefix ? promptOf(prefix, 5, config.vocabSize) : []),
        ...promptOf(length, seed, config.vocabSize),
      ]
      answers.set(id, [])
      recorder.requests.set(id, { prompt, output })
      engine.loop.submit(ids.push(id) - 1, request(id, prompt, output, seed))
    }
    do engine.loop.turn()
    while (engine.loop.busy)
  }
  engine.loop.engine.checkIntegrity()
  const sequenceOf = new Map(
    [...recorder.requests].map(([id, { prompt }]) => [id, index.sequences.push([...prompt, ...answers.get(id)]) - 1]),
  )
  for (const { id, position } of recorder.rows)
    index.rows.push({ scenario: name, sequence: sequenceOf.get(id), position })
  const short = [...recorder.requests].some(([id, { output }]) => answers.get(id).length !== output)
  const problem = short ? 'an answer is short' : expect(facts) ? null : `it did not happen: ${JSON.stringify(facts)}`
  index.scenarios.push({ name, facts, problem })
  console.log(`${name}: ${recorder.rows.length} rows, ${((performance.now() - started) / 1e3).toFixed(2)} s`)
  engine.destroy()
}

/** Every other request samples at temperature 1, which leaves the logits as they are; the others are greedy. */
function request(id, promptTokenIds, maxTokens, seed) {
  const sampling = { ...GREEDY, temperature: seed % 2, seedLow: seed }
  return {
    id,
    clientId: id,
    promptTokenIds,
    maxTokens,
    ignoreEos: true,
    stopTokenIds: [],
    sampling,
    topLogprobs: -1,
    priority: 0,
    arrivalNs: 0,
  }
}

/** From here on every step's logits of the chosen rows are appended to the file as they are read. */
function observe(prototype) {
  const { launch, read } = prototype
  prototype.launch = function (plan) {
    launch.call(this, plan)
    if (recorder === null) return
    for (let row = 0, sample = 0; row < plan.rows; row++) {
      if (plan.sample[row] === 0) continue
      const id = plan.sequence[row]?.request.id
      const position = plan.start[row] + plan.count[row]
      if (id !== undefined && wanted(id, position)) recorder.pending.push({ id, position, sample })
      sample++
    }
  }
  prototype.read = function () {
    const result = read.call(this)
    for (const { id, position, sample } of recorder?.pending.splice(0) ?? []) {
      const logits = new Float32Array(config.vocabSize)
      kernels.download(logits, this.llama.logits + sample * logits.byteLength)
      writeSync(file, logits)
      recorder.rows.push({ id, position })
    }
    return result
  }
}

/** The first output of a request and its last `record`. A finished row of a static batch runs on: those are not asked for. */
function wanted(id, position) {
  const { prompt, output } = recorder.requests.get(id)
  const nth = position - prompt.length
  return nth < output && (nth === 0 || nth >= output - recorder.record)
}

function note(facts, record) {
  if (record.kind === 'request' && record.promptTokens - record.cachedTokens > facts.budget) facts.chunkedPrompts++
  if (record.kind !== 'step') return
  facts.preemptions += record.preemptions
  facts.cachedTokens += record.cachedTokens
  facts.longestStep = Math.max(facts.longestStep, record.prefillTokens + record.decodeTokens)
  if (record.prefillTokens > 0 && record.decodeTokens > 0) facts.mixedSteps++
}
