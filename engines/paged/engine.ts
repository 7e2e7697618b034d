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
import { Scheduler, type SchedulerOptions } from './scheduler.js'
import { PagedSequence } from './sequence.js'

/** Paged attention with continuous batching: requests in, plans out, sampled tokens back in. */
export class PagedEngine implements Engine {
  readonly kind = 'paged'
  readonly #scheduler: Scheduler
  readonly #options: SchedulerOptions
  readonly #observer: EngineObserver
  readonly #byId = new Map<string, PagedSequence>()
  readonly #pool: PagedSequence[] = []
  #order = 0

  /** Throws EngineError (options-conflict) when a prompt could never be scheduled. */
  constructor(options: SchedulerOptions, observer: EngineObserver) {
    if (!options.enableChunkedPrefill && options.maxNumBatchedTokens < options.maxModelLen) {
      throw new EngineError(
        'options-conflict',
        `without chunked prefill --max-num-batched-tokens (${options.maxNumBatchedTokens}) must be at least --max-model-len (${options.maxModelLen})`,
      )
    }
    this.#options = options
    this.#observer = observer
    this.#scheduler = new Scheduler(options)
  }

  add(request: GenerationRequest): AdmissionError | null {
    const { maxModelLen, blockCount, blockSize } = this.#options
    const refusal = admissionError(request, { maxModelLen, kvCapacityTokens: blockCount * blockSize })
    if (refusal !== null) return refusal
    const sequence = this.#pool.pop() ?? new PagedSequence()
    sequence.beginPaged(request, this.#order++, blockSize)
    this.#byId.set(request.id, sequence)
    this.#scheduler.waiting.push(sequence)
    return null
  }

  abort(id: string, nowNs: number): boolean {
    const sequence = this.#byId.get(id)
    if (sequence === undefined) return false
    sequence.aborted = true
    this.#finish(sequence, 'abort', nowNs)
    return true
  }

  schedule(plan: StepPlan, nowNs: number): boolean {
    return this.#scheduler.schedule(plan, nowNs)
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
      this.#arrive(plan, plan.sequence[row] as PagedSequence, tokens[sample]!, sample, nowNs, emit)
      sample++
    }
  }

  hasWork(): boolean {
    return this.#scheduler.running.length > 0 || this.#scheduler.waiting.size > 0
  }
  nextWorkInNs(): number {
    return this.hasWork() ? 0 : Number.POSITIVE_INFINITY
  }
  running(): number {
    return this.#scheduler.running.length
  }
  waiting(): number {
    return this.#scheduler.waiting.size
  }
  kvBlocksUsed(): number {
    return this.#scheduler.memory.blocks.used
  }
  preemptions(): number {
    return this.#scheduler.preemptions
  }

  checkIntegrity(): void {
    const { running, memory, slots } = this.#scheduler
    const held = new Int32Array(this.#options.blockCount + 1)
    for (const sequence of running) for (let i = 0; i < sequence.blockCount; i++) held[sequence.blocks[i]!]!++
    for (let block = 1; block <= this.#options.blockCount; block++) {
      const references = memory.blocks.references(block)
      if (held[block] !== references) throw broken(`block ${block}: ${references} references, in ${held[block]} tables`)
    }
    memory.blocks.checkIntegrity()
    if (slots.free + running.length !== slots.count) throw broken(`${slots.free} slots free, ${running.length} running`)
    if (this.#byId.size !== running.length + this.#scheduler.waiting.size) throw broken('a sequence is in no queue')
  }

  /** One sampled token comes home: appended, or dropped when its sequence has ended meanwhile. */
  #arrive(
    plan: StepPlan,
    sequence: PagedSequence,
    token: number,
    sample: number,
    nowNs: number,
    emit: (sequence: Sequence, token: number, finishReason: FinishReason | null, sample: number) => void,
  ): void {
    sequence.inFlight--
    if (sequence.status === SEQUENCE_STATUS.finished) {
      sequence.wastedTokens++
      plan.decodeTokens--
      plan.paddedTokens++
      if (sequence.inFlight === 0) this.#release(sequence, nowNs)
      return
    }
    if (sequence.firstTokenNs === 0) sequence.firstTokenNs = nowNs
    const reason = sequence.append(token)
    emit(sequence, token, reason, sample)
    if (reason !== null) this.#finish(sequence, reason, nowNs)
  }

  #finish(sequence: PagedSequence, reason: FinishReason, nowNs: number): void {
    if (sequence.status === SEQUENCE_STATUS.running) {
      this.#scheduler.memory.publish(sequence, Math.min(sequence.computed, sequence.length))
    }
    this.#scheduler.remove(sequence)
    this.#byId.delete(sequence.request.id)
    sequence.finishReason = reason
    sequence.finishedNs = nowNs
    if (sequence.inFlight === 0) this.#release(sequence, nowNs)
  }

  #release(sequence: PagedSequence, nowNs: number): void {
    this.#observer.released(sequence, nowNs)
    sequence.retire()
    this.#pool.push(sequence)
  }
}

function broken(what: string): EngineError {
  return new EngineError('invariant-broken', what)
}
