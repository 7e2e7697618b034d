#!/usr/bin/env node
// What a step costs on the device alone, without scheduler, HTTP and client: a captured decode step replayed between two events, with
// every row's cache as long as its prompt, and the prefill of those prompts. The floor under what the engine can reach.
//   node test/gpu/step.mjs [--model llama-3-8b] [--batch 1,16,64,256] [--context 640] [--replays 50] [--json FILE]
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { assembleEngine } from '../../dist/engines/assemble.js'
import { DecodeGraphs } from '../../dist/engines/decode-graphs.js'
import { openDevice } from '../../dist/engines/device.js'
import { GREEDY } from '../../dist/engines/engine.js'
import { Executor } from '../../dist/engines/executor.js'
import { decodeWeightBytes, kvBytesPerToken } from '../../dist/engines/model/llama.js'
import { PRESETS } from '../../dist/engines/model/presets.js'
import { randomWeights } from '../../dist/engines/model/random-weights.js'
import { StatsBlock } from '../../dist/engines/stats-block.js'
import { promptOf } from './requests.mjs'

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: 'llama-3-8b' },
    backend: { type: 'string', default: 'cuda' },
    batch: { type: 'string', default: '1,16,64,256' },
    context: { type: 'string', default: '640' },
    replays: { type: 'string', default: '50' },
    'no-fused-kernels': { type: 'boolean', default: false },
    json: { type: 'string' },
  },
})
const batches = flags.batch.split(',').map(Number)
const context = Number(flags.context)
const options = {
  ...{ engine: 'paged', model: flags.model, servedModelName: null, host: '', port: 0, apiKey: null, stepTrace: null },
  ...{ backend: flags.backend, dtype: 'bf16', seed: 1, threads: 0, cublaslt: 'auto', kernelChoices: 'none', fault: '' },
  ...{
    maxModelLen: context + Math.ceil((Math.max(...batches) * context) / 2048) + 32,
    maxNumSeqs: Math.max(...batches),
    maxNumBatchedTokens: 2048,
    blockSize: 16,
  },
  ...{ gpuMemoryUtilization: 0.9, schedulingPolicy: 'fcfs', enablePrefixCaching: false, enableChunkedPrefill: true },
  ...{
    asyncScheduling: false,
    longPrefillTokenThreshold: 0,
    batchSize: 8,
    staticMaxWaitMs: 0,
    staticVariant: 'literal',
  },
  ...{ enforceEager: false, fusedKernels: !flags['no-fused-kernels'], deterministic: false, maxQueue: 4096 },
}
const kernels = await openDevice(options, () => {})
const config = PRESETS[flags.model]
const weights = randomWeights(kernels, config, 1)
const engine = assembleEngine(kernels, { id: flags.model, config, weights }, options, {
  stats: new StatsBlock(),
  trace: { write() {}, tick() {}, close() {} },
  send() {},
  progress() {},
  depth: 0,
  buckets: [...batches].sort((a, b) => a - b),
})
/** The graph that the engine launches, and how to launch it again: the same step over the same staging block. */
let replay = null
let cached = 0
const launchPlan = Executor.prototype.launch
Executor.prototype.launch = function (plan) {
  cached = 0
  for (let row = 0; row < plan.rows; row++) cached += plan.start[row] + plan.count[row]
  launchPlan.call(this, plan)
}
const { launch } = DecodeGraphs.prototype
DecodeGraphs.prototype.launch = function (bucket, greedyOnly) {
  launch.call(this, bucket, greedyOnly)
  replay = { bucket, again: () => launch.call(this, bucket, greedyOnly) }
}
const bytes = decodeWeightBytes(config, kernels.info.weightBytes)
const rows = []
let ids = 0
for (const batch of batches) {
  for (let i = 0; i < batch; i++)
    submit(`${batch}/${i}`, promptOf(context, ids + 1, config.vocabSize), outputTokens(batch))
  replay = null
  const started = performance.now()
  while (replay?.bucket !== batch) engine.loop.turn()
  kernels.synchronize()
  const prefillMs = performance.now() - started
  const [start, end] = [kernels.eventCreate(), kernels.eventCreate()]
  const times = []
  for (let round = 0; round < 5; round++) {
    kernels.eventRecord(start)
    for (let i = 0; i < Number(flags.replays) / 5; i++) replay.again()
    kernels.eventRecord(end)
    kernels.eventWait(end, 60_000)
    times.push((kernels.eventElapsedMs(start, end) / Number(flags.replays)) * 5)
  }
  const stepMs = times.sort((a, b) => a - b)[2]
  const read = bytes + cached * kvBytesPerToken(config, kernels.info.kvBytes)
  rows.push({
    batch,
    context: cached / batch,
    stepMs,
    tokensPerSecond: (1000 * batch) / stepMs,
    readGBs: read / stepMs / 1e6,
    prefillMs,
  })
  console.log(
    `batch ${batch}, context ${(cached / batch).toFixed(0)}: ${stepMs.toFixed(3)} ms a step, ${((1000 * batch) / stepMs).toFixed(0)} tok/s, ` +
      `${(read / stepMs / 1e9).toFixed(2)} TB/s of weights and cache; prompts in ${prefillMs.toFixed(0)} ms`,
  )
  while (engine.loop.busy) engine.loop.turn()
}
if (flags.json) writeFileSync(flags.json, JSON.stringify({ device: kernels.info, model: flags.model, rows }))
process.exit(0)

/** Long enough that the first row still decodes when the last prompt has been read. */
function outputTokens(batch) {
  return Math.ceil((batch * context) / options.maxNumBatchedTokens) + 8
}

function submit(id, promptTokenIds, maxTokens) {
  const limits = { maxTokens, ignoreEos: true, stopTokenIds: [] }
  engine.loop.submit(ids++, {
    ...{ id, clientId: id, promptTokenIds, sampling: GREEDY, topLogprobs: -1, priority: 0, arrivalNs: 0 },
    ...limits,
  })
}
