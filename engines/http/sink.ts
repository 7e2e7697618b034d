import { type ApiError, errorBody, sendError } from './api-error.js'
import type { Choice } from './choice.js'
import { EventStream } from './event-stream.js'
import { type Exchange, sendJson } from './exchange.js'
import type { Generation, GenerationSink } from './generation.js'
import { choiceUsageJson, usageJson } from './usage.js'

/** The wording of one API: how its whole answer and its stream's events read. Every method returns JSON text or events. */
export interface Wording {
  /** The complete answer. `usage` is JSON text. */
  answer(choices: readonly Choice[], usage: string): string
  /** Events that open the stream, before any token ('' for none). `usageField` is '' or ',"usage":null'. */
  opening(usageField: string): string
  /** Events for a choice's pending text, and for its end when it has its finish reason. */
  event(choice: Choice, usageField: string): string
  /** The last event, which carries the usage and no choice. */
  usageEvent(usage: string): string
}

/** The whole answer at once. */
export function answerSink(exchange: Exchange, generation: Generation, wording: Wording): GenerationSink {
  return {
    started() {},
    output() {},
    done() {
      sendJson(exchange, wording.answer(generation.choices, usageJson(generation.plan.prompts, generation.choices)))
    },
    fail: (error) => sendError(exchange.response, error),
  }
}

const DONE = 'data: [DONE]\n\n'

/** The answer as server-sent events. */
export function streamSink(exchange: Exchange, generation: Generation, wording: Wording): GenerationSink {
  const { prompts, settings } = generation.plan
  const stream = new EventStream(exchange.response, exchange.context.flusher)
  const nullUsage = settings.includeUsage ? ',"usage":null' : ''
  return {
    started() {
      stream.open()
      const opening = wording.opening(nullUsage)
      if (opening !== '') stream.append(opening)
    },
    output(choice) {
      const usageField = settings.continuousUsage
        ? `,"usage":${choiceUsageJson(prompts[choice.promptIndex].length, choice)}`
        : nullUsage
      stream.append(wording.event(choice, usageField))
      choice.clear()
    },
    done() {
      const usage = settings.includeUsage ? wording.usageEvent(usageJson(prompts, generation.choices)) : ''
      stream.end(usage + DONE)
    },
    fail: (error: ApiError) => stream.end(`data: ${errorBody(error)}\n\n${DONE}`),
  }
}
