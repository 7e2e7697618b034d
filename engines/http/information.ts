import { type Exchange, type Service, sendJson } from './exchange.js'
import { modelNotFound } from './generate.js'

/** GET /v1/models */
export function listModels(exchange: Exchange, service: Service): void {
  sendJson(exchange, JSON.stringify({ object: 'list', data: [modelCard(service)] }))
}

/** GET /v1/models/{id} */
export function showModel(exchange: Exchange, service: Service): void {
  if (exchange.rest !== service.modelName) throw modelNotFound(exchange.rest, service)
  sendJson(exchange, JSON.stringify(modelCard(service)))
}

/** GET /v1/engine: what runs here and its counters; how the harness learns device, weights and dtype. */
export function showEngine(exchange: Exchange, service: Service): void {
  const { engine } = service
  const { inFlight, maxInFlight } = exchange.context
  sendJson(
    exchange,
    JSON.stringify({
      object: 'engine',
      pid: process.pid,
      model: service.modelName,
      info: engine.info,
      stats: engine.stats(),
      health: engine.health(),
      server: { inFlight, maxInFlight },
    }),
  )
}

function modelCard({ modelName, created, engine }: Service): object {
  return {
    id: modelName,
    object: 'model',
    created,
    owned_by: 'pagedbench',
    root: engine.info.modelId,
    max_model_len: engine.info.maxModelLen,
  }
}
