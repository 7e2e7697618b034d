import { monotonicNs } from './clock.js'
import type {
  Engine,
  EngineObserver,
  FinishReason,
  GenerationRequest,
  Sequence,
  StepPlan,
  TokenLogprobs,
} from './engine.js'
import type { StepExecutor, StepResult } from './executor.js'
import { OutputBatch, type OutputMessage } from './output-batch.js'
import { createStepPlan, type PlanLimits } from './plan.js'
import { ScheduleTimes, type StatsBlock } from './stats-block.js'
import { requestRecord, type TraceSink } from './trace.js'

export interface LoopParts {
  /** Builds the engine around the loop's observer. */
  createEngine: (observer: EngineObserver) => Engine
  executor: StepExecutor
  limits: PlanLimits
  /** 1: a step is planned and launched before the one before it is read; 0: one at a time. */
  depth: 0 | 1
  kvBlocksTotal: number
  stats: StatsBlock
  trace: TraceSink
  /** Called once a turn, when there is something to tell. */
  send: (message: OutputMessage) => void
}

/** A step on its way, with what the trace will say of it. */
interface Flight {
  plan: StepPlan
  startNs: number
  scheduleNs: number
  launchNs: number
  running: number
  waiting: number
  kvBlocksUsed: number
}

/** One engine at work: schedule, launch, read the step before, commit. Knows nothing of threads; worker.ts turns it. */
export class EngineLoop {
  readonly engine: Engine
  readonly #parts: LoopParts
  readonly #flights: [Flight, Flight]
  readonly #outputs = new OutputBatch()
  readonly #scheduleTimes = new ScheduleTimes()
  readonly #handles = new Map<string, number>()
  readonly #emit = this.#deliver.bind(this)
  #result: StepResult | null = null
  #pending: Flight | null = null
  #steps = 0
  #batches = 0
  #lastEndNs = 0

  constructor(parts: LoopParts) {
    this.#parts = parts
    this.#flights = [emptyFlight(parts.limits), emptyFlight(parts.limits)]
    this.engine = parts.createEngine({
      released: (sequence, nowNs) => {
        parts.trace.write(requestRecord(sequence, nowNs))
      },
      batchEnded: (batch) => parts.trace.write({ kind: 'batch', n: this.#batches++, ...batch }),
    })
    parts.stats.set('kvBlocksTotal', parts.kvBlocksTotal)
  }

  /** `handle` names the request in the outputs. A request that can never run gets one output with finishReason 'error'. */
  submit(handle: number, request: GenerationRequest): void {
    if (this.engine.add(request) !== null) {
      this.#outputs.push(handle, -1, 'error', -1, 0)
      return
    }
    this.#handles.set(request.id, handle)
    this.#parts.stats.add('requestsAccepted', 1)
  }

  /** Frees the sequence at once; its last output says so. */
  abort(id: string): void {
    if (!this.engine.abort(id, monotonicNs())) return
    this.#outputs.push(this.#handles.get(id)!, -1, 'abort', -1, 0)
    this.#handles.delete(id)
    this.#parts.stats.add('abort', 1)
  }

  get busy(): boolean {
    return this.#pending !== null || this.engine.hasWork()
  }

  /** One turn; false: there was nothing to launch and nothing to read. Throws KernelError or EngineError: the engine is dead. */
  turn(): boolean {
    const { executor, depth, stats } = this.#parts
    const flight = this.#flights[this.#steps % 2]!
    const launched = this.#plan(flight)
    if (launched) {
      this.#steps++
      executor.launch(flight.plan)
      flight.launchNs = monotonicNs() - flight.startNs - flight.scheduleNs
    }
    const previous = this.#pending
    this.#pending = launched ? flight : null
    if (previous !== null) this.#finish(previous)
    if (launched && depth === 0) {
      this.#pending = null
      this.#finish(flight)
    }
    stats.set('running', this.engine.running())
    stats.set('waiting', this.engine.waiting())
    stats.set('kvBlocksUsed', this.engine.kvBlocksUsed())
    if (this.#outputs.count > 0) this.#parts.send(this.#outputs.take())
    return launched || previous !== null
  }

  #plan(flight: Flight): boolean {
    const startNs = monotonicNs()
    const planned = this.engine.schedule(flight.plan, startNs)
    const endNs = monotonicNs()
    flight.startNs = startNs
    flight.scheduleNs = endNs - startNs
    flight.running = this.engine.running()
    flight.waiting = this.engine.waiting()
    flight.kvBlocksUsed = this.engine.kvBlocksUsed()
    if (planned) this.#scheduleTimes.add(flight.scheduleNs, endNs, this.#parts.stats)
    return planned
  }

  #finish(flight: Flight): void {
    const askedNs = monotonicNs()
    this.#result = this.#parts.executor.read()
    const nowNs = monotonicNs()
    this.engine.commit(flight.plan, this.#result.tokens, nowNs, this.#emit)
    this.#record(flight, nowNs, nowNs - askedNs)
    this.#lastEndNs = nowNs
  }

  /** A sequence's token comes out of commit(). */
  #deliver(sequence: Sequence, token: number, reason: FinishReason | null, sample: number): void {
    const { stats } = this.#parts
    const { id, topLogprobs, arrivalNs } = sequence.request
    const handle = this.#handles.get(id)!
    const queuedUs = Math.max(0, Math.min((sequence.scheduledNs - arrivalNs) / 1000, 0x7fff_ffff))
    this.#outputs.push(handle, token, reason, reason === 'stop' ? token : -1, sequence.cachedTokens, queuedUs)
    if (topLogprobs >= 0) this.#outputs.addLogprobs(logprobsOf(this.#result!, sample, topLogprobs))
    stats.add('generationTokens', 1)
    if (sequence.length - sequence.promptLength === 1) {
      stats.add('promptTokens', sequence.promptLength)
      stats.add('cachedPromptTokens', sequence.cachedTokens)
    }
    if (reason === null) return
    this.#handles.delete(id)
    stats.add(reason, 1)
  }

  /** `nowNs`: the device's result was there; commit() has run since. */
  #record(flight: Flight, nowNs: number, waitNs: number): void {
    const { stats, trace, kvBlocksTotal } = this.#parts
    const { plan, startNs, scheduleNs, running, waiting, kvBlocksUsed } = flight
    stats.add('steps', 1)
    stats.add('preemptions', plan.preemptions)
    stats.add('paddedTokens', plan.paddedTokens)
    trace.write({
      kind: 'step',
      n: stats.get('steps'),
      tNs: Math.round(startNs),
      durationNs: Math.round(nowNs - Math.max(startNs, this.#lastEndNs)),
      rows: plan.rows,
      prefillTokens: plan.prefillTokens,
      decodeTokens: plan.decodeTokens,
      paddedTokens: plan.paddedTokens,
      running,
      waiting,
      kvBlocksUsed,
      kvBlocksTotal,
      preemptions: plan.preemptions,
      cachedTokens: plan.cachedTokens,
      scheduleNs: Math.round(scheduleNs),
      launchNs: Math.round(flight.launchNs),
      waitNs: Math.round(waitNs),
      commitNs: Math.round(monotonicNs() - nowNs),
    })
  }
}

function emptyFlight(limits: PlanLimits): Flight {
  return {
    plan: createStepPlan(limits),
    startNs: 0,
    scheduleNs: 0,
    launchNs: 0,
    running: 0,
    waiting: 0,
    kvBlocksUsed: 0,
  }
}

/** Row `sample` of the step's log-probabilities, cut to what its request asked for. */
function logprobsOf(result: StepResult, sample: number, top: number): TokenLogprobs {
  const at = sample * (1 + result.topLogprobs)
  return {
    logprob: result.logprobs[at]!,
    topTokenIds: Array.from(result.logprobTokens.subarray(at + 1, at + 1 + top)),
    topLogprobs: Array.from(result.logprobs.subarray(at + 1, at + 1 + top)),
  }
}
