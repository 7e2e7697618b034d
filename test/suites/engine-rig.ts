import { assembleEngine } from '../../engines/assemble.js'
import type { FinishReason, GenerationRequest, StepTraceRecord, TokenLogprobs } from '../../engines/engine.js'
import type { EngineLoop } from '../../engines/loop.js'
import type { ModelConfig } from '../../engines/model/config.js'
import { PRESETS } from '../../engines/model/presets.js'
import { randomWeights } from '../../engines/model/random-weights.js'
import type { EngineOptions } from '../../engines/options.js'
import { FINISH_CODES, OUTPUT_INTS, type OutputMessage } from '../../engines/output-batch.js'
import { StatsBlock } from '../../engines/stats-block.js'
import { Kernels } from '../../kernels/binding.js'
import { buildKernels } from '../../kernels/build.js'

export interface Answer {
  tokens: number[]
  reason: FinishReason | null
  logprobs: TokenLogprobs[]
  cachedTokens: number
}

export const OPTIONS: EngineOptions = {
  engine: 'paged',
  model: 'tiny',
  servedModelName: null,
  host: '127.0.0.1',
  port: 0,
  apiKey: null,
  backend: 'cpu',
  dtype: 'f32',
  seed: 1,
  threads: 1,
  maxModelLen: 256,
  maxNumSeqs: 16,
  maxNumBatchedTokens: 64,
  blockSize: 16,
  kvCacheBytes: null,
  gpuMemoryUtilization: 0.9,
  schedulingPolicy: 'fcfs',
  enablePrefixCaching: true,
  enableChunkedPrefill: true,
  asyncScheduling: true,
  longPrefillTokenThreshold: 0,
  batchSize: 8,
  staticMaxWaitMs: 0,
  staticVariant: 'literal',
  enforceEager: false,
  fusedKernels: true,
  wgmma: true,
  deterministic: false,
  cublaslt: 'none',
  kernelChoices: 'none',
  stepTrace: null,
  maxQueue: 4096,
  fault: '',
}

export interface RigOptions extends Partial<EngineOptions> {
  /** 1: a step is launched before the previous one is read, as on a GPU. */
  depth?: 0 | 1
  /** Decode graphs of these batch sizes; none: every step is eager. */
  buckets?: readonly number[]
  /** KV cache in tokens. */
  kvTokens?: number
  /** 'micro', the default: 0.15 M parameters, for suites whose steps must cost little. */
  preset?: 'micro' | 'tiny' | 'tiny-qwen2'
}

/** Two layers, grouped-query ratio 2, the tiny preset's vocabulary cut to 512. */
const MICRO: ModelConfig = {
  ...PRESETS.tiny,
  hiddenSize: 64,
  intermediateSize: 128,
  layers: 2,
  heads: 2,
  kvHeads: 1,
  vocabSize: 512,
  eosTokenIds: [],
}

/** A whole engine on the real CPU kernels with a small random model, driven on this thread; its trace stays in memory. */
export class Rig {
  readonly answers = new Map<string, Answer>()
  readonly trace: StepTraceRecord[] = []
  readonly stats = new StatsBlock()
  readonly #ids = new Map<number, string>()
  #handle = 0

  private constructor(
    readonly loop: EngineLoop,
    readonly close: () => void,
  ) {}

  static async create(rigOptions: RigOptions = {}): Promise<Rig> {
    const { depth = 0, buckets = [], kvTokens, preset = 'micro', ...overrides } = rigOptions
    const options = { ...OPTIONS, ...overrides }
    const built = await buildKernels({ cuda: false, progress: () => {} })
    const kernels = new Kernels(built.cpu, {
      dtype: options.dtype === 'auto' ? 'bf16' : options.dtype,
      threads: options.threads,
      fault: options.fault,
    })
    const config = preset === 'micro' ? MICRO : PRESETS[preset]
    const weights = randomWeights(kernels, config, options.seed)
    if (kvTokens !== undefined) {
      options.kvCacheBytes = kvTokens * 2 * config.layers * config.kvHeads * config.headDim * kernels.info.kvBytes
    }
    const parts: { rig: Rig | null } = { rig: null }
    const stats = new StatsBlock()
    const trace: StepTraceRecord[] = []
    const assembled = assembleEngine(kernels, { id: preset, config, weights }, options, {
      stats,
      trace: { write: (record) => void trace.push(record), tick: () => {}, close: () => {} },
      send: (message) => parts.rig!.#receive(message),
      progress: () => {},
      depth,
      buckets,
    })
    const rig = new Rig(assembled.loop, () => {
      assembled.destroy()
      weights.free()
      kernels.destroy()
    })
    Object.assign(rig, { trace, stats })
    parts.rig = rig
    return rig
  }

  submit(request: GenerationRequest): void {
    this.answers.set(request.id, { tokens: [], reason: null, logprobs: [], cachedTokens: 0 })
    this.#ids.set(this.#handle, request.id)
    this.loop.submit(this.#handle++, request)
  }

  /** Turns until nothing is left to do. */
  finish(): void {
    do this.loop.turn()
    while (this.loop.busy)
  }

  /** All at once, to the end; tokens by id. */
  run(requests: readonly GenerationRequest[]): Map<string, number[]> {
    for (const request of requests) this.submit(request)
    this.finish()
    return new Map(requests.map(({ id }) => [id, this.answers.get(id)!.tokens]))
  }

  steps() {
    return this.trace.filter((record) => record.kind === 'step')
  }
  requests() {
    return this.trace.filter((record) => record.kind === 'request')
  }

  #receive({ ints, logprobs }: OutputMessage): void {
    for (let at = 0; at < ints.length; at += OUTPUT_INTS) {
      const answer = this.answers.get(this.#ids.get(ints[at]!)!)!
      if (answer.reason !== null) throw new Error('an output after the last one')
      if (ints[at + 1]! >= 0) answer.tokens.push(ints[at + 1]!)
      if (ints[at + 2]! > 0) answer.reason = FINISH_CODES[ints[at + 2]!] as FinishReason
      answer.cachedTokens = ints[at + 4]!
    }
    for (const [index, values] of logprobs) {
      this.answers.get(this.#ids.get(ints[index * OUTPUT_INTS]!)!)!.logprobs.push(values)
    }
  }
}
