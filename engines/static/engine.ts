import { SLOT } from '../../kernels/binding.js'
import { admissionError } from '../admission.js'
import {
  type AdmissionError,
  type Engine,
  type EngineObserver,
  type FinishReason,
  type GenerationRequest,
  SEQUENCE_STATUS,
  type Sequence,
  type StepPlan,
} from '../engine.js'
import { EngineError } from '../engine-error.js'
import { clearPlan } from '../plan.js'
import { StaticBatch } from './batch.js'
import { StaticSequence } from './sequence.js'

export interface StaticOptions {
  /** Members of a batch at most: --batch-size, or fewer when fewer slots of the longest sequence fit the KV memory. */
  batchSize: number
  maxModelLen: number
  maxNumBatchedTokens: number
  staticMaxWaitMs: number
  variant: 'literal' | 'generous'
}

/** One contiguous block per slot: the smallest power of two (the kernels' rule) that holds the longest sequence. */
export function staticBlockSize(maxModelLen: number): number {
  return Math.max(16, 2 ** Math.ceil(Math.log2(maxModelLen)))
}

/** Rows and changes of the largest step: literal prefill gives each member a padding row. */
export function staticPlanSizes(batchSize: number): { maxRows: number; maxChanges: number } {
  return { maxRows: 2 * batchSize, maxChanges: batchSize * (SLOT.blocks + 1) }
}

/**
 * Static batching, first come first served: a batch closes when it is full or its oldest request has waited long enough, runs until its
 * longest member ends, and only then does the next one start.
 */
export class StaticEngine implements Engine {
  readonly kind = 'static'
  readonly #batch: StaticBatch
  readonly #queue: StaticSequence[] = []
  readonly #byId = new Map<string, StaticSequence>()
  readonly #pool: StaticSequence[] = []
  #active = false

  constructor(
    readonly options: StaticOptions,
    readonly observer: EngineObserver,
  ) {
    this.#batch = new StaticBatch(options.variant, options.maxModelLen, options.maxNumBatchedTokens)
  }

  add(request: GenerationRequest): AdmissionError | null {
    const { maxModelLen } = this.options
    const refusal = admissionError(request, { maxModelLen, kvCapacityTokens: maxModelLen })
    if (refusal !== null) return refusal
    const sequence = this.#pool.pop() ?? new StaticSequence()
    sequence.beginStatic(request)
    this.#byId.set(request.id, sequence)
    this.#queue.push(sequence)
    return null
  }

  abort(id: string, nowNs: number): boolean {
    const sequence = this.#byId.get(id)
    if (sequence === undefined) return false
    sequence.aborted = true
    this.#finish(sequence, 'abort', nowNs)
    if (sequence.slot === 0) {
      this.#queue.splice(this.#queue.indexOf(sequence), 1)
      this.#release(sequence, nowNs)
    } else this.#endBatch(nowNs)
    return true
  }

  schedule(plan: StepPlan, nowNs: number): boolean {
    clearPlan(plan)
    if (!this.#active && !this.#closeBatch(nowNs)) return false
    return this.#batch.plan(plan)
  }

  commit(
    plan: StepPlan,
    tokens: Int32Array,
    nowNs: number,
    emit: (sequence: Sequence, token: number, finishReason: FinishReason | null, sample: number) => void,
  ): void {
    let sample = 0
    for (let row = 0; row < plan.rows; row++) {
      if (plan.sample[row] === 0) continue
      const sequence = plan.sequence[row] as StaticSequence | null
      if (sequence !== null) this.#arrive(plan, sequence, tokens[sample]!, sample, nowNs, emit)
      sample++
    }
    this.#endBatch(nowNs)
  }

  hasWork(): boolean {
    return this.#active || this.#queue.length > 0
  }
  nextWorkInNs(nowNs: number): number {
    if (this.#active) return 0
    if (this.#queue.length === 0) return Number.POSITIVE_INFINITY
    if (this.#queue.length >= this.options.batchSize) return 0
    return Math.max(0, this.#queue[0]!.request.arrivalNs + this.options.staticMaxWaitMs * 1e6 - nowNs)
  }
  running(): number {
    return this.#active ? this.#batch.members.length : 0
  }
  waiting(): number {
    return this.#queue.length
  }
  /** Slots: a batch holds all of its members' until it ends. */
  kvBlocksUsed(): number {
    return this.running()
  }
  preemptions(): number {
    return 0
  }

  checkIntegrity(): void {
    const live = this.#active ? this.#batch.members.filter((member) => member.finishReason === null).length : 0
    if (this.#byId.size === live + this.#queue.length) return
    throw new EngineError(
      'invariant-broken',
      `${this.#byId.size} sequences known, ${live} in the batch and ${this.#queue.length} waiting`,
    )
  }

  /** Starts the next batch if it is full or its oldest request has waited long enough. */
  #closeBatch(nowNs: number): boolean {
    if (this.nextWorkInNs(nowNs) > 0) return false
    this.#batch.start(nowNs)
    this.#active = true
    const count = Math.min(this.#queue.length, this.options.batchSize)
    for (let i = 0; i < count; i++) this.#batch.join(this.#queue[i]!, nowNs)
    this.#queue.splice(0, count)
    return true
  }

  #arrive(
    plan: StepPlan,
    sequence: StaticSequence,
    token: number,
    sample: number,
    nowNs: number,
    emit: (sequence: Sequence, token: number, finishReason: FinishReason | null, sample: number) => void,
  ): void {
    sequence.inFlight--
    if (sequence.finishReason !== null) {
      sequence.wastedTokens++
      plan.decodeTokens--
      plan.paddedTokens++
      if (sequence.status === SEQUENCE_STATUS.finished && sequence.inFlight === 0) this.#release(sequence, nowNs)
      return
    }
    if (sequence.firstTokenNs === 0) sequence.firstTokenNs = nowNs
    const reason = sequence.append(token)
    this.#batch.noteOutput(sequence)
    emit(sequence, token, reason, sample)
    if (reason !== null) this.#finish(sequence, reason, nowNs)
  }

  /** The client has its last token; the row stays in the batch. */
  #finish(sequence: StaticSequence, reason: FinishReason, nowNs: number): void {
    this.#byId.delete(sequence.request.id)
    sequence.finishReason = reason
    sequence.finishedNs = nowNs
  }

  /** When the last member has finished: every slot is free again. */
  #endBatch(nowNs: number): void {
    if (!this.#active || !this.#batch.ended()) return
    this.#active = false
    const { members, startNs, longestPrompt, longestOutput } = this.#batch
    this.observer.batchEnded({ startNs, endNs: nowNs, rows: members.length, longestPrompt, longestOutput })
    for (const member of members) {
      member.status = SEQUENCE_STATUS.finished
      if (member.inFlight === 0) this.#release(member, nowNs)
    }
  }

  #release(sequence: StaticSequence, nowNs: number): void {
    this.observer.released(sequence, nowNs)
    sequence.retire()
    this.#pool.push(sequence)
  }
}
