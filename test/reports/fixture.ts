import type { FrontierPoint } from '../../src/result/frontier.js'
import type { BlockData, RunData } from '../../src/result/read.js'
import type { RequestRecord, Summary, TargetInfo, TelemetryInfo, TelemetrySample } from '../../src/result/schema.js'
import type { ServerScrape } from '../../src/result/server-view.js'
import { manifest, record } from '../result/builders.js'
import { summarizeFixture } from './fixture-summary.js'
import { CPU_SPEED, GPU_SPEED, type Lengths, type Simulation, simulate } from './simulate.js'

export interface FixtureOptions {
  targets: ('static' | 'paged' | 'external')[]
  blocksPerTarget: number
  requests: number
  concurrency: number
  gpu: boolean
  /** No engine step trace: what an external server gives. */
  steps: boolean
  /** The external target shows vLLM's /metrics. */
  serverMetrics: boolean
  failures: 'none' | 'some' | 'all'
  status: 'complete' | 'partial'
  seed: number
}

export const TYPICAL: FixtureOptions = {
  targets: ['static', 'paged'],
  blocksPerTarget: 3,
  requests: 96,
  concurrency: 16,
  gpu: false,
  steps: true,
  serverMetrics: false,
  failures: 'none',
  status: 'complete',
  seed: 1,
}

/** A run and its summary, the same for the same options. Simulated: it stands for the shape of a result, not for a figure. */
export function fixture(change: Partial<FixtureOptions> = {}): { run: RunData; summary: Summary } {
  const options = { ...TYPICAL, ...change }
  const random = generator(options.seed)
  const lengths = Array.from({ length: options.requests }, () => drawLengths(random, options.gpu))
  const blocks: BlockData[] = []
  let startNs = 5_000e9
  for (let repeat = 0; repeat < options.blocksPerTarget; repeat++) {
    const order = repeat % 2 === 0 ? options.targets : [...options.targets].reverse()
    for (const target of order) {
      const block = makeBlock(options, target, repeat, blocks.length, lengths, startNs)
      blocks.push(block)
      startNs = block.manifest.endNs! + 3e9
    }
  }
  const run: RunData = {
    directory: 'results/20260102-030405-chat',
    manifest: runManifest(options, blocks),
    plan: lengths.map((length, index) => planRow(length, index)),
    blocks,
    damage: options.status === 'partial' ? ['1-paged/requests.jsonl: the last line is torn'] : [],
  }
  return { run, summary: summarizeFixture(run) }
}

/** Numerical Recipes' LCG: values in [0, 1). */
function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

function drawLengths(random: () => number, gpu: boolean): Lengths {
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const lognormal = (median: number) =>
    Math.max(4, Math.min(median * 8, Math.round(median * Math.exp(0.55 * normal()))))
  return { promptTokens: lognormal(gpu ? 200 : 52), outputTokens: lognormal(gpu ? 165 : 44) }
}

function makeBlock(
  options: FixtureOptions,
  target: string,
  repeat: number,
  index: number,
  lengths: readonly Lengths[],
  startNs: number,
): BlockData {
  const base = options.gpu ? GPU_SPEED : CPU_SPEED
  const scale = 1 + 0.012 * Math.sin(index * 7.3)
  const speed = { ...base, stepNs: base.stepNs * scale * (target === 'external' ? 1.12 : 1) }
  const simulation = simulate(
    target === 'static' ? 'static' : 'paged',
    lengths,
    options.concurrency,
    startNs + 1e9,
    speed,
  )
  const records = simulation.requests.map((request) => toRecord(request, options))
  const partial = options.status === 'partial' && index === 1
  return {
    manifest: {
      index,
      target,
      repeat,
      folder: `${index}-${target}`,
      startNs,
      endNs: simulation.endNs + 5e8,
      measureStartNs: startNs + 1e9,
      status: partial ? 'partial' : 'complete',
      reason: partial ? 'interrupted (Ctrl-C)' : null,
    },
    records: partial ? records.slice(0, Math.ceil(records.length / 3)) : records,
    steps: options.steps && target !== 'external' ? simulation.steps : [],
    telemetry: telemetry(simulation, startNs, options.gpu, target),
    scrapes: options.serverMetrics && target === 'external' ? scrapes(records) : [],
    health: [
      {
        worker: 0,
        eventLoopDelayP50Ms: 1.1,
        eventLoopDelayP99Ms: 2.4,
        eventLoopDelayMaxMs: 6.2,
        eventLoopUtilization: 0.18,
        gcPauses: 4,
        gcPauseTotalMs: 6,
        gcPauseMaxMs: 2.2,
        scheduleLagP50Ms: 0.2,
        scheduleLagP99Ms: 0.8,
        scheduleLagMaxMs: 1.4,
        socketsOpened: options.concurrency,
        cpuSecs: 3.1,
        wallSecs: 20,
        fastParserDisagreements: 0,
      },
    ],
  }
}

function toRecord(request: Simulation['requests'][number], options: FixtureOptions): RequestRecord {
  const sentNs = request.sentNs
  const flush = 3e5
  const failed = options.failures === 'all' || (options.failures === 'some' && request.index % 9 === 4)
  const base = record(request.index, request.outputTokens)
  const times = {
    intendedNs: sentNs - 1e5,
    dequeuedNs: sentNs - 5e4,
    sentNs,
    bodySentNs: sentNs + 5e4,
    requestId: `r-${request.index}`,
    inputTokens: request.promptTokens,
    usagePromptTokens: request.promptTokens,
  }
  if (failed)
    return {
      ...base,
      ...times,
      outcome: request.index % 2 === 0 ? 'http-5xx' : 'reset',
      detail: request.index % 2 === 0 ? 'HTTP 503: the engine is overloaded' : 'connection reset after 12 tokens',
      httpStatus: 503,
      finishReason: null,
      ...{
        headersNs: null,
        firstByteNs: null,
        firstTokenNs: null,
        firstOutputNs: null,
        lastTokenNs: null,
        doneNs: null,
      },
      ...{ readNs: [], readTokens: [], readFrames: [], counted: 0, usageCompletionTokens: null },
    }
  const readNs = request.tokenNs.map((tNs) => tNs - sentNs + flush)
  const firstNs = sentNs + readNs[0]!
  const lastNs = sentNs + readNs.at(-1)!
  return {
    ...base,
    ...times,
    headersNs: firstNs - 1e5,
    firstByteNs: firstNs,
    firstTokenNs: firstNs,
    firstOutputNs: firstNs,
    lastTokenNs: lastNs,
    doneNs: lastNs + 1e5,
    readNs,
  }
}

/** vLLM's counters before and after: half of TTFT in the queue, a third of it prefill, and two requests of another client. */
function scrapes(records: readonly RequestRecord[]): ServerScrape[] {
  const ok = records.filter((entry) => entry.outcome === 'ok')
  const ttftSecs = ok.reduce((sum, entry) => sum + (entry.firstTokenNs! - entry.intendedNs) / 1e9, 0)
  const text = (share: number, count: number) =>
    [
      ['request_queue_time_seconds', ttftSecs / 2],
      ['request_prefill_time_seconds', ttftSecs / 3],
      ['time_to_first_token_seconds', ttftSecs * 0.95],
    ]
      .map(
        ([name, sum]) =>
          `vllm:${name}_sum{engine="0"} ${Number(sum) * share}\nvllm:${name}_count{engine="0"} ${count}\n`,
      )
      .join('')
  const scrape = (when: ServerScrape['when'], body: string): ServerScrape => ({
    ...{ when, url: 'http://127.0.0.1:8081/metrics', tNs: 1, tEndNs: 2, httpStatus: 200, text: body, reason: null },
  })
  return [scrape('before', text(0, 0)), scrape('after', text(1, records.length + 2))]
}

function telemetry(simulation: Simulation, startNs: number, gpu: boolean, target: string): TelemetrySample[] {
  const samples: TelemetrySample[] = []
  const useful = target === 'static' ? 0.55 : 0.86
  for (let tNs = startNs; tNs < simulation.endNs + 3e8; tNs += 1e8) {
    const wave = Math.sin(tNs / 7e8) * 2
    const busy = tNs > startNs + 1e9
    samples.push({
      tNs,
      tEndNs: tNs + 4e5,
      gpuUtilizationPercent: gpu ? (busy ? 99 : 0) : null,
      memoryUtilizationPercent: gpu ? (busy ? 61 + wave : 0) : null,
      powerWatts: gpu ? (busy ? 380 + useful * 260 + wave * 8 : 118) : null,
      energyMillijoules: gpu ? 1e6 + (tNs - startNs) / 1e6 : null,
      smClockMhz: gpu ? (busy ? 1755 - (useful > 0.8 ? 90 : 0) + wave * 8 : 1980) : null,
      memoryClockMhz: gpu ? 2619 : null,
      temperatureCelsius: gpu ? 52 + wave : null,
      memoryUsedBytes: gpu ? 72e9 : null,
      throttleReasons: gpu ? (useful > 0.8 && busy && Math.floor(tNs / 15e8) % 3 === 0 ? 4 : 0) : null,
      gpmSmPercent: gpu ? (busy ? 94 : 0) : null,
      gpmOccupancyPercent: gpu ? 31 : null,
      gpmTensorPercent: gpu ? (busy ? 9 + useful * 6 + wave : 0) : null,
      gpmDramPercent: gpu ? (busy ? 40 + useful * 45 + wave : 0) : null,
      hostCpuPercent: busy ? (gpu ? 8 : 93 + wave) : 3,
      targetCpuCores: busy ? (gpu ? 1.1 : 1.8 + wave / 20) : 0.02,
      targetRssBytes: 9.2e8,
    })
  }
  return samples
}

const planRow = (length: Lengths, index: number) => ({
  ...{
    index,
    phase: 'measure' as const,
    dueNs: null,
    inputTokens: length.promptTokens,
    outputTokens: length.outputTokens,
  },
  ...{ prefixGroup: null, conversation: null, turn: null, thinkNs: 0, promptIds: null, prompt: null, seed: index },
})

function runManifest(options: FixtureOptions, blocks: readonly BlockData[]): RunData['manifest'] {
  const ceilings = options.gpu
    ? { copyGBs: 2890, readGBs: 3020, gemmTflops: 770 }
    : { copyGBs: 14.1, readGBs: 18.4, gemmTflops: 0.21 }
  const empty = manifest()
  return {
    ...empty,
    id: '20260102-030405-chat',
    status: options.status,
    command: ['bench', 'run', '--concurrency', String(options.concurrency)],
    scenario: {
      name: options.gpu ? 'chat' : 'chat-cpu',
      cache: 'cold',
      seeds: { arrivals: 1, lengths: 2, content: 3 },
    },
    scenarioLine: options.gpu
      ? `chat: closed loop, concurrency ${options.concurrency}; input lognormal mean 241 cv 0.8, output lognormal mean 194 cv 0.8`
      : `chat-cpu (shorter than chat: no GPU): closed loop, concurrency ${options.concurrency}; input lognormal mean 60 cv 0.8, output lognormal mean 50 cv 0.8`,
    planHash: '9f2c4e7d31a8b05c6e1f0a92d4b7c8e35f60718293a4b5c6d7e8f90a1b2c3d4e',
    planRequests: options.requests,
    environment: {
      ...empty.environment,
      host: 'bench-1',
      os: 'Linux 6.8.0 x64',
      cpu: options.gpu ? 'Intel Xeon Platinum 8481C' : 'Intel Xeon @ 2.80GHz',
      cores: options.gpu ? 26 : 2,
      memoryBytes: options.gpu ? 234e9 : 25e9,
      node: 'v20.20.2',
      gitCommit: '38e29b4',
      gitDirty: false,
      ceilings,
    },
    targets: options.targets.map((name) => targetInfo(name, options.gpu)),
    blocks: blocks.map((block) => block.manifest),
    telemetry: options.gpu ? GPU_INFO : CPU_INFO,
    notices: options.gpu ? ['weights are random (seed 1): timing as with real ones, the text is not'] : [],
  }
}

const CPU_INFO: TelemetryInfo = {
  gpu: null,
  absent: { gpuUtilizationPercent: 'libnvidia-ml.so.1 not found', powerWatts: 'libnvidia-ml.so.1 not found' },
  periodMs: 100,
}

const GPU_INFO: TelemetryInfo = {
  gpu: {
    name: 'NVIDIA H100 80GB HBM3',
    uuid: 'GPU-2f6d0c1e-5a7b-4c2d-9e8f-001122334455',
    pciBusId: '00000000:04:00.0',
    driver: '580.95.05',
    nvml: '13.580.95',
    memoryTotalBytes: 85.5e9,
    powerLimitWatts: 700,
    maxSmClockMhz: 1980,
    otherProcesses: 0,
  },
  absent: {},
  periodMs: 100,
}

function targetInfo(name: string, gpu: boolean): TargetInfo {
  const external = name === 'external'
  return {
    name,
    kind: external ? 'external' : 'builtin',
    origin: external ? 'http://127.0.0.1:8081' : 'http://127.0.0.1:40001',
    model: gpu ? 'llama-3-8b' : 'SmolLM2-135M-Instruct',
    engine: external ? 'llama.cpp' : name,
    backend: external ? null : gpu ? 'cuda' : 'cpu',
    device: external ? null : gpu ? 'NVIDIA H100 80GB HBM3' : 'Intel Xeon @ 2.80GHz, 2 cores',
    dtype: external ? null : 'bf16',
    weights: external ? null : gpu ? 'random (seed 1)' : 'real',
    weightsSha256: external ? null : '2e6c9f41',
    maxModelLen: external ? null : 2048,
    kvBytes: external ? null : gpu ? 52e9 : 1.9e8,
    blockSize: external ? null : 16,
    options: external ? {} : { maxNumSeqs: 16, maxNumBatchedTokens: 2048, enablePrefixCaching: true },
    decodeWeightBytes: external ? null : gpu ? 15.0e9 : 2.69e8,
    kvBytesPerToken: external ? null : gpu ? 131_072 : 23_040,
    flopsPerToken: external ? null : gpu ? 15.0e9 : 2.69e8,
    tokenSource: external ? 'usage' : 'engine ids',
    startupSecs: external ? null : 2.4,
  }
}

/** Loads of a sweep over concurrency: the static engine saturates early, the paged one late and then queues. */
export function sweepPoints(): FrontierPoint[] {
  return [1, 2, 4, 8, 16, 32, 64].flatMap((value) =>
    ['static', 'paged'].map((target) => {
      const paged = target === 'paged'
      const rate = (paged ? 300 : 140) * (1 - Math.exp(-value / (paged ? 12 : 7)))
      const itl = (1000 * value) / rate
      const ttft = paged ? 60 + value * 6 : 80 + value * 260
      return {
        ...{ variable: 'concurrency', value, target, outputTokensPerSecond: rate, requestsPerSecond: rate / 45 },
        ...{ ttftP50Ms: ttft, itlP50Ms: itl, e2eP50Ms: ttft + itl * 44 },
        ...{ meetsSlo: ttft < 2000, slo: ttft < 2000 ? [] : ['ttft p50 is above 2000 ms'], validity: 'VALID' },
        folder: `concurrency-${value}`,
      }
    }),
  )
}
