import type { IncomingMessage, ServerResponse } from 'node:http'
import type { EngineClient } from '../engine.js'
import type { StreamFlusher } from './event-stream.js'
import type { ServerMetrics } from './metrics.js'
import type { ChatTemplate, TextCodec } from './text-codec.js'

/** What the routes serve, once it is loaded. */
export interface Service {
  engine: EngineClient
  codec: TextCodec
  chatTemplate: ChatTemplate
  /** The id clients name in `model`. */
  modelName: string
  /** Unix seconds. */
  created: number
}

/** What every route of one server shares. */
export interface ServerContext {
  readonly metrics: ServerMetrics
  readonly flusher: StreamFlusher
  readonly maxBodyBytes: number
  /** Sequences accepted and not yet finished, and how many there may be. */
  inFlight: number
  readonly maxInFlight: number
}

/** One request of a client and its answer. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly context: ServerContext
  /** x-request-id: the client's, cleaned, or our own. */
  readonly requestId: string
  /** The part of the path a route left open, decoded: the model of /v1/models/{id}. */
  readonly rest: string
}

/** A route that needs the model loaded. Throws ApiError; resolves when its part is done (a stream goes on by itself). */
export type ServiceHandler = (exchange: Exchange, service: Service) => Promise<void> | void

/** Answers 200 with JSON text, or for HEAD with its headers. */
export function sendJson(exchange: Exchange, json: string): void {
  const { request, response } = exchange
  response.writeHead(200, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(json),
  })
  response.end(request.method === 'HEAD' ? undefined : json)
}
