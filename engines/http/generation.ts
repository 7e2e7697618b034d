import type { TokenOutput } from '../engine.js'
import { ApiError } from './api-error.js'
import { Choice } from './choice.js'
import type { Exchange, Service } from './exchange.js'
import type { GenerationSettings } from './settings.js'

/** What one HTTP request asks of the engine: n choices of every prompt, numbered prompt by prompt. */
export interface GenerationPlan {
  /** 'cmpl-..' or 'chatcmpl-..': the response's id. */
  id: string
  prompts: readonly (readonly number[])[]
  /** null: the rest of the context. */
  maxTokens: number | null
  topLogprobs: number
  settings: GenerationSettings
  /** CLOCK_MONOTONIC ns when the body's last byte was read. */
  arrivalNs: number
}

export interface GenerationSink {
  /** The engine has taken every sequence: a 200 may go out. */
  started(): void
  /** The choice has something to send; the sink takes it by choice.clear(), or leaves it to grow. */
  output(choice: Choice): void
  /** Every choice has its finish reason. */
  done(): void
  /** No more output follows: the engine failed, or the request was cut off by a shutdown. */
  fail(error: ApiError): void
}

/** The sequences of one request in the engine, from submit to the last output. They end together. */
export class Generation {
  readonly choices: Choice[] = []
  #open = 0
  #ended = false

  constructor(
    readonly exchange: Exchange,
    readonly service: Service,
    readonly plan: GenerationPlan,
  ) {}

  /** Submits every sequence or none. Throws ApiError: too long, no room, queue full. */
  start(sink: GenerationSink): void {
    const { context, response } = this.exchange
    const { prompts, settings } = this.plan
    const wanted = prompts.length * settings.n
    this.#checkQueue(wanted)
    const budgets = prompts.map((prompt) => this.#tokenBudget(prompt.length))
    if (this.plan.maxTokens === 0) {
      this.#answerWithoutEngine(wanted, sink)
      return
    }
    for (let index = 0; index < wanted; index++) {
      const promptIndex = Math.floor(index / settings.n)
      const choice = this.#addChoice(index, promptIndex)
      const refusal = this.service.engine.submit(this.#engineRequest(choice, budgets[promptIndex]), (output) =>
        this.#receive(choice, output, sink),
      )
      if (refusal !== null) {
        this.choices.pop()
        this.#cancel()
        throw new ApiError(refusal.code, refusal.message, refusal.param)
      }
      this.#open++
      context.inFlight++
    }
    response.once('close', () => this.#clientGone())
    sink.started()
  }

  #addChoice(index: number, promptIndex: number): Choice {
    const { plan, service } = this
    const choice = new Choice(`${plan.id}-${index}`, index, promptIndex, plan.settings, service.codec)
    this.choices.push(choice)
    return choice
  }

  /** max_tokens 0, which only echo allows: nothing to generate. */
  #answerWithoutEngine(wanted: number, sink: GenerationSink): void {
    sink.started()
    for (let index = 0; index < wanted; index++) {
      const choice = this.#addChoice(index, Math.floor(index / this.plan.settings.n))
      choice.finishReason = 'length'
      sink.output(choice)
    }
    this.exchange.context.metrics.countOutcome('completed')
    sink.done()
  }

  #checkQueue(wanted: number): void {
    const { context } = this.exchange
    if (wanted > context.maxInFlight) {
      throw new ApiError(
        'invalid_value',
        `The request asks for ${wanted} sequences; the queue holds ${context.maxInFlight}.`,
        'n',
      )
    }
    if (context.inFlight + wanted > context.maxInFlight) {
      throw new ApiError('queue_full', `The queue is full (${context.inFlight} requests).`, null, {
        headers: { 'retry-after': '1' },
      })
    }
  }

  #tokenBudget(promptTokens: number): number {
    const { maxTokens, settings } = this.plan
    const { maxModelLen } = this.service.engine.info
    const room = maxModelLen - promptTokens
    if (room < 1 || (maxTokens !== null && maxTokens > room)) {
      throw new ApiError(
        'context_length_exceeded',
        `The model's context holds ${maxModelLen} tokens; the prompt has ${promptTokens} and ${maxTokens ?? 'at least 1'} are asked for.`,
        room < 1 ? 'prompt' : 'max_tokens',
      )
    }
    const budget = maxTokens ?? room
    if (settings.minTokens > budget) {
      throw new ApiError('invalid_value', `min_tokens must be at most max_tokens (${budget}).`, 'min_tokens')
    }
    return budget
  }

  #engineRequest(choice: Choice, maxTokens: number) {
    const { plan, exchange, service } = this
    const { settings } = plan
    return {
      id: choice.id,
      clientId: exchange.requestId,
      promptTokenIds: plan.prompts[choice.promptIndex],
      maxTokens,
      ignoreEos: settings.ignoreEos,
      stopTokenIds: [...(settings.ignoreEos ? [] : service.engine.info.eosTokenIds), ...settings.stopTokenIds],
      sampling: settings.sampling(choice.index % settings.n),
      topLogprobs: plan.topLogprobs,
      priority: settings.priority,
      arrivalNs: plan.arrivalNs,
    }
  }

  #receive(choice: Choice, output: TokenOutput, sink: GenerationSink): void {
    if (this.#ended || choice.finishReason !== null) return
    const { context } = this.exchange
    choice.accept(output)
    context.metrics.observeOutput(choice, output, this.plan.arrivalNs, context.flusher.nowNs())
    if (output.finishReason === 'error' || output.finishReason === 'abort') {
      this.#fail(output, sink)
      return
    }
    if (choice.ready) sink.output(choice)
    if (choice.finishReason !== null) this.#finish(choice, output, sink)
  }

  #finish(choice: Choice, output: TokenOutput, sink: GenerationSink): void {
    const { context } = this.exchange
    if (output.finishReason === null) this.service.engine.abort(choice.id)
    context.inFlight--
    this.#open--
    context.metrics.observeFinished(
      choice,
      this.plan.prompts[choice.promptIndex].length,
      this.plan.arrivalNs,
      context.flusher.nowNs(),
    )
    if (this.#open > 0) return
    this.#ended = true
    context.metrics.countOutcome('completed')
    sink.done()
  }

  #fail(output: TokenOutput, sink: GenerationSink): void {
    this.#cancel()
    this.exchange.context.metrics.countOutcome('errored')
    sink.fail(
      output.finishReason === 'abort'
        ? new ApiError('engine_draining', 'The server is shutting down; the request was cut off.')
        : new ApiError('engine_error', output.error ?? 'The engine failed.'),
    )
  }

  #clientGone(): void {
    if (this.#ended) return
    this.#cancel()
    this.exchange.context.metrics.countOutcome('aborted')
  }

  /** Ends every open sequence; their last outputs are ignored. */
  #cancel(): void {
    this.#ended = true
    const { context } = this.exchange
    for (const choice of this.choices) {
      if (choice.finishReason !== null) continue
      this.service.engine.abort(choice.id)
      context.metrics.countFinished('abort')
      context.inFlight--
    }
    this.#open = 0
  }
}
