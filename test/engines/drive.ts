import {
  type Engine,
  type FinishReason,
  type GenerationRequest,
  GREEDY,
  type Sequence,
  type StepPlan,
} from '../../engines/engine.js'
import { PagedEngine } from '../../engines/paged/engine.js'
import { maxChanges, type SchedulerOptions } from '../../engines/paged/scheduler.js'
import { createStepPlan } from '../../engines/plan.js'
import { STATIC_SLOT_STRIDE } from '../../engines/static/batch.js'
import { StaticEngine, type StaticOptions, staticBlockSize, staticPlanSizes } from '../../engines/static/engine.js'
import { SimulatedExecutor } from './simulated-executor.js'

export interface Answer {
  tokens: number[]
  reason: FinishReason | null
}

export function request(
  id: string,
  prompt: readonly number[],
  maxTokens: number,
  rest: Partial<GenerationRequest> = {},
): GenerationRequest {
  return {
    id,
    clientId: id,
    promptTokenIds: prompt,
    maxTokens,
    ignoreEos: true,
    stopTokenIds: [],
    sampling: GREEDY,
    topLogprobs: -1,
    priority: 0,
    arrivalNs: 0,
    ...rest,
  }
}

export const PAGED: SchedulerOptions = {
  blockCount: 64,
  blockSize: 16,
  maxModelLen: 256,
  maxNumSeqs: 8,
  maxNumBatchedTokens: 64,
  longPrefillTokenThreshold: 0,
  enableChunkedPrefill: true,
  enablePrefixCaching: true,
  schedulingPolicy: 'fcfs',
}

/** An engine on the simulated device, driven step by step; depth 1 plans a step before it reads the one before. */
export class Driver {
  readonly answers = new Map<string, Answer>()
  /** In order of first admission to a step. */
  readonly released: { id: string; wastedTokens: number; cachedTokens: number; preemptions: number }[] = []
  readonly batches: { rows: number; longestPrompt: number; longestOutput: number }[] = []
  readonly totals = { steps: 0, preemptions: 0, cachedTokens: 0, prefillTokens: 0, decodeTokens: 0, paddedTokens: 0 }
  /** Called with every plan before it runs. */
  onPlan: (plan: StepPlan) => void = () => {}
  readonly #plans: [StepPlan, StepPlan]
  #pending: { plan: StepPlan; tokens: Int32Array } | null = null
  #turn = 0

  constructor(
    readonly engine: Engine,
    readonly executor: SimulatedExecutor,
    readonly depth: 0 | 1,
  ) {
    this.#plans = [createStepPlan(executor.limits), createStepPlan(executor.limits)]
  }

  static paged(options: SchedulerOptions, depth: 0 | 1): Driver {
    const limits = {
      maxRows: options.maxNumSeqs,
      maxTokens: options.maxNumBatchedTokens,
      maxChanges: maxChanges(options),
    }
    const executor = new SimulatedExecutor(limits, {
      slots: options.maxNumSeqs + 1,
      slotStride: 16 + Math.ceil(options.maxModelLen / options.blockSize),
      maxModelLen: options.maxModelLen,
      blocks: options.blockCount + 1,
      blockSize: options.blockSize,
    })
    return Driver.#wire((observer) => new PagedEngine(options, observer), executor, depth)
  }

  static static(options: StaticOptions, depth: 0 | 1): Driver {
    const limits = { ...staticPlanSizes(options.batchSize), maxTokens: options.maxNumBatchedTokens }
    const executor = new SimulatedExecutor(limits, {
      slots: options.batchSize + 1,
      slotStride: STATIC_SLOT_STRIDE,
      maxModelLen: options.maxModelLen,
      blocks: options.batchSize + 1,
      blockSize: staticBlockSize(options.maxModelLen),
    })
    return Driver.#wire((observer) => new StaticEngine(options, observer), executor, depth)
  }

  static #wire(
    make: (observer: ConstructorParameters<typeof PagedEngine>[1]) => Engine,
    executor: SimulatedExecutor,
    depth: 0 | 1,
  ): Driver {
    let driver: Driver | null = null
    const engine = make({
      released: (s: Sequence) => {
        const { wastedTokens, cachedTokens, preemptions } = s
        driver!.released.push({ id: s.request.id, wastedTokens, cachedTokens, preemptions })
      },
      batchEnded: (batch) => driver!.batches.push(batch),
    })
    driver = new Driver(engine, executor, depth)
    return driver
  }

  add(r: GenerationRequest): void {
    const refusal = this.engine.add({ ...r, arrivalNs: this.executor.nowNs })
    if (refusal !== null) throw new Error(refusal.message)
    this.answers.set(r.id, { tokens: [], reason: null })
  }

  abort(id: string): boolean {
    const known = this.engine.abort(id, this.executor.nowNs)
    if (known) this.answers.get(id)!.reason = 'abort'
    return known
  }

  /** One turn of the loop; false: nothing was planned and nothing was pending. */
  step(): boolean {
    const plan = this.#plans[this.#turn]!
    const planned = this.engine.schedule(plan, this.executor.nowNs)
    let launched: { plan: StepPlan; tokens: Int32Array } | null = null
    if (planned) {
      this.onPlan(plan)
      this.totals.steps++
      this.totals.preemptions += plan.preemptions
      this.totals.cachedTokens += plan.cachedTokens
      this.totals.prefillTokens += plan.prefillTokens
      launched = { plan, tokens: this.executor.run(plan) }
      this.#turn = 1 - this.#turn
    }
    const pending = this.#pending
    if (pending !== null) this.#commit(pending)
    this.#pending = null
    if (launched !== null) {
      if (this.depth === 0) this.#commit(launched)
      else this.#pending = launched
    }
    return planned || pending !== null
  }

  /** Until nothing is left; advances virtual time over a gathering static batch. */
  finish(maxSteps = 100_000): void {
    for (let i = 0; this.engine.hasWork() || this.#pending !== null; i++) {
      if (i > maxSteps) throw new Error(`not finished after ${maxSteps} steps`)
      if (this.step()) continue
      const wait = this.engine.nextWorkInNs(this.executor.nowNs)
      if (!(wait > 0 && wait < Number.POSITIVE_INFINITY)) throw new Error(`work left, none planned, next in ${wait} ns`)
      this.executor.nowNs += wait
    }
  }

  #commit({ plan, tokens }: { plan: StepPlan; tokens: Int32Array }): void {
    this.engine.commit(plan, tokens, this.executor.nowNs, (sequence, token, reason) => {
      const answer = this.answers.get(sequence.request.id)!
      if (answer.reason !== null) throw new Error(`${sequence.request.id}: a token after its end`)
      answer.tokens.push(token)
      answer.reason = reason
    })
    this.totals.decodeTokens += plan.decodeTokens
    this.totals.paddedTokens += plan.paddedTokens
  }
}
