import { ApiError, quote } from './api-error.js'
import type { Exchange, Service } from './exchange.js'
import { ignoredFieldLabel } from './field-classes.js'
import { type Body, stringField } from './fields.js'
import { Generation, type GenerationPlan } from './generation.js'
import { answerSink, streamSink, type Wording } from './sink.js'

/** Hands a validated request to the engine and its answer to the client. Throws ApiError while nothing has been sent. */
export function generate(
  exchange: Exchange,
  service: Service,
  plan: GenerationPlan,
  wording: Wording,
  ignored: readonly string[],
): void {
  for (const name of ignored) exchange.context.metrics.countIgnored(ignoredFieldLabel(name))
  const generation = new Generation(exchange, service, plan)
  const sink = plan.settings.stream ? streamSink : answerSink
  generation.start(sink(exchange, generation, wording))
}

/** `model` may be left out; another one than this server's is 404. */
export function checkModel(body: Body, service: Service): void {
  const model = stringField(body, 'model')
  if (model !== null && model !== service.modelName) throw modelNotFound(model, service)
}

export function modelNotFound(model: string, service: Service): ApiError {
  return new ApiError(
    'model_not_found',
    `The model ${quote(model)} does not exist; this server has ${service.modelName}.`,
    'model',
  )
}
