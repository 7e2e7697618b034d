import type { Address, EventId, Kernels } from '../kernels/binding.js'
import { type StagingLayout, stagingLayout, writeStaging } from './batch.js'
import { DecodeGraphs } from './decode-graphs.js'
import type { StepPlan } from './engine.js'
import { EngineError } from './engine-error.js'
import type { Llama, StepBuffers, StepShape } from './model/llama.js'
import { addRow, clearPlan, createStepPlan, DUMMY_SLOT, type PlanLimits } from './plan.js'
import { dummySlotState } from './slot-state.js'

export interface ExecutorOptions {
  limits: PlanLimits
  /** Rows of the slot table, the dummy slot included. */
  slots: number
  /** Int32 elements of a slot. */
  slotStride: number
  maxModelLen: number
  blockSize: number
  /** Bytes of one block over all layers. */
  blockBytes: number
  /** A step that takes longer ends the engine. */
  stepTimeoutMs: number
}

/** What a finished step left behind. Views of pinned memory: valid until the second launch after it. */
export interface StepResult {
  /** int32 [S]: the sampled token of each sampling row. */
  tokens: Int32Array
  /** f32 [S, 1 + topLogprobs] and int32 likewise, when the step asked: the sampled token's, then the most likely. */
  logprobs: Float32Array
  logprobTokens: Int32Array
  topLogprobs: number
}

/** Runs plans on a device, in order; at most two are in flight. The simulated device of the tests is another one. */
export interface StepExecutor {
  launch(plan: StepPlan): void
  /** Waits for the oldest step in flight. Throws KernelError, or EngineError device-hung. */
  read(): StepResult
}

/** One of two alternating sets of pinned memory: the step's input, its output, and the event between. */
interface Flight {
  stagingAddress: Address
  staging: Int32Array
  tokensAddress: Address
  logprobsAddress: Address
  logprobTokensAddress: Address
  event: EventId
  result: StepResult
}

const IN_FLIGHT = 2
const MAX_TOP = 20

/**
 * Owns the device's step buffers and the KV pool. A step is: staging block up, the forward pass (eagerly, or a captured graph when
 * every row decodes), sampled tokens down, an event.
 */
export class Executor implements StepExecutor {
  readonly #kernels: Kernels
  readonly #options: ExecutorOptions
  readonly #layout: StagingLayout
  readonly #buffers: StepBuffers
  readonly #flights: Flight[]
  readonly #graphs: DecodeGraphs
  readonly #shape: StepShape = {
    rows: 0,
    decodeRows: 0,
    tokens: 0,
    samples: 0,
    maxKv: 0,
    greedyOnly: true,
    topLogprobs: -1,
  }
  #launched = 0
  #finished = 0

  /** Allocates everything but the KV pool (openCache). Throws KernelError KN_OUT_OF_MEMORY. */
  constructor(
    readonly llama: Llama,
    options: ExecutorOptions,
  ) {
    this.#kernels = llama.kernels
    this.#options = options
    this.#layout = stagingLayout(options.limits)
    this.#buffers = this.#allocate()
    this.#flights = Array.from({ length: IN_FLIGHT }, () => this.#createFlight())
    this.#graphs = new DecodeGraphs(llama, this.#buffers, options.maxModelLen)
  }

  /** Allocates the pool of `blocks` blocks (the dummy block included). */
  openCache(blocks: number): void {
    this.#buffers.kv = this.#kernels.alloc(blocks * this.#options.blockBytes)
    this.#kernels.fill(this.#buffers.kv, 0, this.#options.blockBytes)
  }

  /** Runs the largest step once over a pool of one block, so that whatever the device allocates at first use is allocated. */
  profile(): void {
    const { limits, maxModelLen } = this.#options
    this.openCache(1)
    const plan = createStepPlan(limits)
    clearPlan(plan)
    const rows = Math.min(limits.maxRows, limits.maxTokens)
    const count = Math.min(maxModelLen, Math.floor(limits.maxTokens / rows))
    for (let row = 0; row < rows; row++) addRow(plan, null, DUMMY_SLOT, 0, count, row < this.#options.slots - 1, false)
    this.launch(plan)
    this.read()
    this.#kernels.free(this.#buffers.kv)
    this.#buffers.kv = 0
  }

  /** Captures a decode step of every bucket, largest first; call it after openCache. */
  capture(buckets: readonly number[], progress: (line: string) => void): void {
    const empty = createStepPlan({ maxRows: 0, maxTokens: 0, maxChanges: 0 })
    this.#graphs.capture(buckets, progress, (bucket) => this.#upload(this.#flights[0]!, empty, bucket))
  }

  launch(plan: StepPlan): void {
    if (this.#launched - this.#finished === IN_FLIGHT) throw new RangeError('Executor.launch: two steps are in flight')
    const flight = this.#flights[this.#launched++ % IN_FLIGHT]!
    const shape = this.#describe(plan)
    const bucket = this.#graphs.bucketFor(plan, shape)
    this.#upload(flight, plan, bucket)
    if (bucket > 0) this.#graphs.launch(bucket, shape.greedyOnly)
    else this.llama.forward(this.#buffers, shape)
    this.#download(flight, shape)
    this.#kernels.eventRecord(flight.event)
  }

  read(): StepResult {
    const flight = this.#flights[this.#finished % IN_FLIGHT]!
    if (!this.#kernels.eventWait(flight.event, this.#options.stepTimeoutMs)) {
      throw new EngineError('device-hung', `a step did not finish within ${this.#options.stepTimeoutMs / 1000} s`)
    }
    this.#finished++
    return flight.result
  }

  /** Gives back what it allocated; the kernels and the model are not its own. */
  destroy(): void {
    const { staging, slotTable, history, ids, positions, kvSlot, kvLength, sampleIndex, sampled, kv } = this.#buffers
    this.#graphs.destroy()
    for (const address of [staging, slotTable, history, ids, positions, kvSlot, kvLength, sampleIndex, sampled, kv]) {
      if (address !== 0) this.#kernels.free(address)
    }
    for (const flight of this.#flights) {
      this.#kernels.eventDestroy(flight.event)
      for (const address of [
        flight.stagingAddress,
        flight.tokensAddress,
        flight.logprobsAddress,
        flight.logprobTokensAddress,
      ]) {
        this.#kernels.hostFree(address)
      }
    }
  }

  /** The frozen sizes of the plan's step, in the one object that is used for all. */
  #describe(plan: StepPlan): StepShape {
    const shape = this.#shape
    shape.rows = plan.rows
    shape.decodeRows = plan.decodeRows
    shape.tokens = plan.tokens
    shape.samples = plan.samples
    shape.maxKv = 0
    shape.greedyOnly = true
    shape.topLogprobs = -1
    for (let row = 0; row < plan.rows; row++) {
      shape.maxKv = Math.max(shape.maxKv, plan.start[row]! + plan.count[row]!)
      const sequence = plan.sequence[row]!
      if (sequence === null || plan.sample[row] === 0) continue
      if (!sequence.greedy) shape.greedyOnly = false
      shape.topLogprobs = Math.max(shape.topLogprobs, sequence.request.topLogprobs)
    }
    return shape
  }

  #upload(flight: Flight, plan: StepPlan, bucketRows: number): void {
    const used = writeStaging(flight.staging, this.#layout, plan, bucketRows)
    this.#kernels.uploadAsync(this.#buffers.staging, flight.stagingAddress, used * 4)
  }

  #download(flight: Flight, { samples, topLogprobs }: StepShape): void {
    flight.result.topLogprobs = topLogprobs
    if (samples === 0) return
    this.#kernels.downloadAsync(flight.tokensAddress, this.#buffers.sampled, samples * 4)
    if (topLogprobs < 0) return
    const bytes = samples * (1 + topLogprobs) * 4
    this.#kernels.downloadAsync(flight.logprobsAddress, this.llama.logprobs, bytes)
    this.#kernels.downloadAsync(flight.logprobTokensAddress, this.llama.logprobTokens, bytes)
  }

  #allocate(): StepBuffers {
    const { limits, slots, slotStride, maxModelLen, blockSize, blockBytes } = this.#options
    const { maxRows, maxTokens, maxChanges } = limits
    const ints = (count: number) => this.#kernels.alloc(count * 4)
    const staging = ints(this.#layout.length)
    const slotTable = ints(slots * slotStride)
    const history = ints(slots * maxModelLen)
    this.#kernels.fill(slotTable, 0, slots * slotStride * 4)
    this.#kernels.upload(slotTable, dummySlotState(slotStride))
    this.#kernels.fill(history, 0, slots * maxModelLen * 4)
    return {
      staging,
      queryStart: staging + this.#layout.queryStart * 4,
      rowSlot: staging + this.#layout.rowSlot * 4,
      sampleRow: staging + this.#layout.sampleRow * 4,
      slotTable,
      history,
      ids: ints(maxTokens),
      positions: ints(maxTokens),
      kvSlot: ints(maxTokens),
      kvLength: ints(maxRows),
      sampleIndex: ints(maxRows),
      sampled: ints(maxRows),
      kv: 0,
      blockStride: blockBytes,
      blockSize,
      slotStride,
      historyStride: maxModelLen,
      maxRows,
      maxChanges,
      maxTokens,
    }
  }

  #createFlight(): Flight {
    const { maxRows } = this.#options.limits
    const staging = this.#kernels.hostAlloc(this.#layout.length * 4)
    const tokens = this.#kernels.hostAlloc(maxRows * 4)
    const logprobs = this.#kernels.hostAlloc(maxRows * (1 + MAX_TOP) * 4)
    const logprobTokens = this.#kernels.hostAlloc(maxRows * (1 + MAX_TOP) * 4)
    return {
      stagingAddress: staging.address,
      staging: new Int32Array(staging.buffer),
      tokensAddress: tokens.address,
      logprobsAddress: logprobs.address,
      logprobTokensAddress: logprobTokens.address,
      event: this.#kernels.eventCreate(),
      result: {
        tokens: new Int32Array(tokens.buffer),
        logprobs: new Float32Array(logprobs.buffer),
        logprobTokens: new Int32Array(logprobTokens.buffer),
        topLogprobs: -1,
      },
    }
  }
}
