import type { Kernels } from '../kernels/binding.js'
import { SLOT } from '../kernels/binding.js'
import { decodeBuckets } from './decode-graphs.js'
import type { EngineInfo, EngineObserver } from './engine.js'
import { EngineError } from './engine-error.js'
import { Executor } from './executor.js'
import { cacheBlocks } from './kv-pool.js'
import { EngineLoop, type LoopParts } from './loop.js'
import type { ModelConfig } from './model/config.js'
import { decodeWeightBytes, flopsPerToken, kvBytesPerBlock, kvBytesPerToken, Llama } from './model/llama.js'
import type { ModelWeights } from './model/weights.js'
import type { EngineOptions } from './options.js'
import { PagedEngine } from './paged/engine.js'
import { blocksPerSequence, maxChanges, type SchedulerOptions } from './paged/scheduler.js'
import type { PlanLimits } from './plan.js'
import { STATIC_SLOT_STRIDE } from './static/batch.js'
import { StaticEngine, staticBlockSize, staticPlanSizes } from './static/engine.js'
import { warmUp } from './warm-up.js'

export interface LoadedModel {
  id: string
  config: ModelConfig
  weights: ModelWeights
}

export interface AssemblyPorts extends Pick<LoopParts, 'stats' | 'trace' | 'send'> {
  progress: (line: string) => void
  /** Overrides for tests; by default depth 1 and graphs are for CUDA, as the options say. */
  depth?: 0 | 1
  buckets?: readonly number[]
}

/** Steps slower than this end the engine as hung. */
const STEP_TIMEOUT_MS = 60_000

/** What differs between the two engines, before and after the size of the cache is known. */
interface Design {
  slots: number
  slotStride: number
  blockSize: number
  limits: PlanLimits
  create(blocks: number, observer: EngineObserver): PagedEngine | StaticEngine
  /** Usable blocks of `fitting`. */
  usable(fitting: number): number
  /** Sequences that decode at once at most, with so many usable blocks. */
  decodeRows(blocks: number): number
}

/**
 * Model, executor and engine on a device, ready to turn. Throws EngineError (options that conflict, memory too small) and KernelError.
 */
export function assembleEngine(
  kernels: Kernels,
  model: LoadedModel,
  options: EngineOptions,
  ports: AssemblyPorts,
): { loop: EngineLoop; info: EngineInfo; destroy: () => void } {
  const maxModelLen = contextLength(options.maxModelLen, model.config)
  const design = options.engine === 'paged' ? pagedDesign(options, maxModelLen) : staticDesign(options, maxModelLen)
  const { limits, slots, slotStride, blockSize } = design
  const llama = new Llama(
    kernels,
    model.config,
    model.weights,
    { maxRows: limits.maxRows, maxTokens: limits.maxTokens, maxSamples: slots - 1, maxKv: maxModelLen, logprobs: true },
    options.fusedKernels,
  )
  const blockBytes = kvBytesPerBlock(model.config, blockSize, kernels.info.kvBytes)
  const executor = new Executor(llama, {
    limits,
    slots,
    slotStride,
    maxModelLen,
    blockSize,
    blockBytes,
    stepTimeoutMs: STEP_TIMEOUT_MS,
  })
  const cuda = kernels.info.backend === 'cuda'
  if (cuda && options.kvCacheBytes === null) executor.profile()
  const blocks = design.usable(cacheBlocks(kernels, options, blockBytes))
  executor.openCache(blocks + 1)
  if (cuda && !options.deterministic) warmUp(executor, { limits, maxSamples: slots - 1, maxModelLen }, ports.progress)
  const buckets = ports.buckets ?? (cuda && !options.enforceEager ? decodeBuckets(design.decodeRows(blocks)) : [])
  executor.capture(buckets, ports.progress)
  const loop = new EngineLoop({
    createEngine: (observer) => design.create(blocks, observer),
    executor,
    limits,
    depth: ports.depth ?? (cuda && options.asyncScheduling ? 1 : 0),
    kvBlocksTotal: blocks,
    stats: ports.stats,
    trace: ports.trace,
    send: ports.send,
  })
  const info = describe(kernels, model, options, { maxModelLen, blockSize, blocks, blockBytes })
  const destroy = () => {
    executor.destroy()
    llama.destroy()
  }
  return { loop, info, destroy }
}

function contextLength(asked: number, config: ModelConfig): number {
  if (asked <= 0) return config.maxPositions
  if (asked <= config.maxPositions) return asked
  throw new EngineError(
    'context-too-long',
    `--max-model-len ${asked}: the model was made for ${config.maxPositions} positions`,
  )
}

function pagedDesign(options: EngineOptions, maxModelLen: number): Design {
  const { maxNumSeqs, maxNumBatchedTokens, blockSize } = options
  if (blockSize < 16 || (blockSize & (blockSize - 1)) !== 0) {
    throw new EngineError('options-conflict', `--block-size ${blockSize}: the kernels take powers of two from 16`)
  }
  if (maxNumBatchedTokens < maxNumSeqs) {
    throw new EngineError(
      'options-conflict',
      `--max-num-batched-tokens (${maxNumBatchedTokens}) must be at least --max-num-seqs (${maxNumSeqs})`,
    )
  }
  const scheduler = (blockCount: number): SchedulerOptions => ({ ...options, blockCount, maxModelLen })
  return {
    slots: maxNumSeqs + 1,
    slotStride: SLOT.blocks + blocksPerSequence({ maxModelLen, blockSize }),
    blockSize,
    limits: { maxRows: maxNumSeqs, maxTokens: maxNumBatchedTokens, maxChanges: maxChanges(scheduler(0)) },
    create: (blocks, observer) => new PagedEngine(scheduler(blocks), observer),
    usable: (fitting) => fitting,
    decodeRows: (blocks) => Math.min(maxNumSeqs, blocks),
  }
}

function staticDesign(options: EngineOptions, maxModelLen: number): Design {
  const { batchSize, maxNumBatchedTokens, staticMaxWaitMs, staticVariant } = options
  return {
    slots: batchSize + 1,
    slotStride: STATIC_SLOT_STRIDE,
    blockSize: staticBlockSize(maxModelLen),
    limits: { ...staticPlanSizes(batchSize), maxTokens: Math.max(maxNumBatchedTokens, 2 * batchSize) },
    create: (blocks, observer) =>
      new StaticEngine(
        { batchSize: blocks, maxModelLen, maxNumBatchedTokens, staticMaxWaitMs, variant: staticVariant },
        observer,
      ),
    usable: (fitting) => Math.min(fitting, batchSize),
    decodeRows: (blocks) => blocks,
  }
}

function describe(
  kernels: Kernels,
  { id, config, weights }: LoadedModel,
  options: EngineOptions,
  cache: { maxModelLen: number; blockSize: number; blocks: number; blockBytes: number },
): EngineInfo {
  const { info } = kernels
  const { apiKey: _secret, host: _host, port: _port, ...shown } = options
  return {
    kind: options.engine,
    variant: options.engine === 'static' ? options.staticVariant : null,
    modelId: options.servedModelName ?? id,
    maxModelLen: cache.maxModelLen,
    vocabSize: config.vocabSize,
    eosTokenIds: config.eosTokenIds,
    weights: weights.provenance,
    dtype: info.dtype,
    backend: info.backend,
    deviceName: info.name,
    deviceUuid: info.uuid ?? null,
    blockSize: cache.blockSize,
    kvBlocksTotal: cache.blocks,
    kvBytes: cache.blocks * cache.blockBytes,
    weightBytes: weights.bytes,
    weightsSha256: weights.sha256,
    options: { ...shown, maxModelLen: cache.maxModelLen },
    decodeWeightBytes: decodeWeightBytes(config, info.weightBytes),
    kvBytesPerToken: kvBytesPerToken(config, info.kvBytes),
    flopsPerToken: flopsPerToken(config),
  }
}
