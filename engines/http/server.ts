import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Access, type AccessOptions } from './access.js'
import { ApiError, sendError, toApiError } from './api-error.js'
import { ClientGone } from './body.js'
import { answerClientError, BusySockets } from './client-error.js'
import { StreamFlusher } from './event-stream.js'
import { type Exchange, type ServerContext, type Service, sendJson } from './exchange.js'
import { HealthWatch } from './health.js'
import { ServerMetrics } from './metrics.js'
import { findRoute, methodsOf, pathOf, type Route } from './routes.js'

export interface ServerOptions extends AccessOptions {
  host: string
  /** 0: any free one. */
  port: number
  maxBodyBytes: number
  /** Sequences accepted and not yet finished before 429. */
  maxQueue: number
  /** Idle time of a stream before a comment is sent; 0: never. */
  pingMs: number
  /** Work queued and no engine step for so long turns /health to 503; 0: never. */
  stallTimeoutMs: number
  /** Unread bytes after which a stream is cut off. */
  maxBufferedBytes: number
  /** For a client that does not read the end of its answer. */
  drainTimeoutMs: number
  headersTimeoutMs: number
  requestTimeoutMs: number
}

/** The OpenAI-compatible server of one engine. It listens before the model is loaded, and says 503 until serve(). */
export class EngineServer {
  readonly health: HealthWatch
  readonly context: ServerContext
  readonly #options: ServerOptions
  readonly #access: Access
  readonly #server: Server
  readonly #busy = new BusySockets()
  #service: Service | null = null
  readonly #log: (error: unknown) => void

  /** `log` receives errors that are this server's own defect. */
  constructor(options: ServerOptions, log: (error: unknown) => void) {
    this.#options = options
    this.#access = new Access(options)
    this.#log = log
    this.health = new HealthWatch(options.stallTimeoutMs)
    this.context = {
      metrics: new ServerMetrics(),
      flusher: new StreamFlusher(options),
      maxBodyBytes: options.maxBodyBytes,
      inFlight: 0,
      maxInFlight: options.maxQueue,
    }
    this.#server = createServer({
      maxHeaderSize: 16 * 1024,
      headersTimeout: options.headersTimeoutMs,
      requestTimeout: options.requestTimeoutMs,
      connectionsCheckingInterval: Math.min(1000, options.headersTimeoutMs),
      keepAliveTimeout: 75_000,
      requireHostHeader: false,
      noDelay: true,
    })
    const onRequest = (request: IncomingMessage, response: ServerResponse) => void this.#handle(request, response)
    this.#server.on('request', onRequest).on('checkContinue', onRequest).on('checkExpectation', onRequest)
    this.#server.on('clientError', (error, socket) => answerClientError(error, socket, this.#busy))
  }

  /** Binds; resolves to the origin, 'http://host:port'. Rejects with the system's error (EADDRINUSE, EACCES). */
  listen(): Promise<string> {
    const { host, port } = this.#options
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port, backlog: 4096 }, () => {
        this.#server.off('error', reject)
        const address = this.#server.address() as AddressInfo
        resolve(`http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`)
      })
    })
  }

  /** The model is loaded: from now on requests are answered. */
  serve(service: Service): void {
    this.#service = service
    this.health.watch(service.engine)
  }

  /** Takes no new generation, lets those under way end until the deadline, then cuts them off; resolves when all are answered. */
  async drain(deadlineMs: number): Promise<void> {
    this.health.draining = true
    this.#server.closeIdleConnections()
    await this.#service?.engine.drain(deadlineMs)
  }

  /** Stops listening and ends every connection; one still writing gets up to a second. */
  async close(): Promise<void> {
    this.health.close()
    this.context.flusher.close()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    // A kept-alive connection becomes idle when its last answer is out.
    const idle = setInterval(() => this.#server.closeIdleConnections(), 20)
    const force = setTimeout(() => this.#server.closeAllConnections(), 1000)
    await closed
    clearInterval(idle)
    clearTimeout(force)
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#busy.enter(request.socket, response)
    const requestId = cleanRequestId(request.headers['x-request-id'])
    response.setHeader('x-request-id', requestId)
    if (this.health.draining) response.setHeader('connection', 'close')
    const path = pathOf(request.url ?? '/')
    try {
      this.#access.check(request, response, path)
      if ((request.headers.expect ?? '100-continue').toLowerCase() !== '100-continue') {
        throw new ApiError('bad_http', 'This Expect header is not understood.')
      }
      if (request.method === 'OPTIONS') {
        answerOptions(response, path)
        return
      }
      const { route, rest } = findRoute(request.method ?? 'GET', path)
      await this.#run(route, { request, response, context: this.context, requestId, rest })
    } catch (error) {
      this.#refuse(response, error)
    }
  }

  async #run(route: Route, exchange: Exchange): Promise<void> {
    if (route.handler === 'health') this.#answerHealth(exchange)
    else if (route.handler === 'metrics') this.#answerMetrics(exchange)
    else if (route.generates) await this.#runInLedger(route.handler, exchange)
    else await route.handler(exchange, this.#ready())
  }

  /** Counts a generation request in, and out again when it ends before the engine has it. */
  async #runInLedger(handler: Exclude<Route['handler'], string>, exchange: Exchange): Promise<void> {
    const { metrics } = exchange.context
    metrics.countAccepted()
    try {
      await handler(exchange, this.#ready())
    } catch (error) {
      if (error instanceof ClientGone) metrics.countOutcome('aborted')
      else metrics.countOutcome(toApiError(error).status === 500 ? 'errored' : 'rejected')
      throw error
    }
  }

  #ready(): Service {
    const problem = this.health.problem()
    if (problem !== null) throw problem
    if (this.#service === null) throw new ApiError('engine_loading', 'The model is loading.')
    return this.#service
  }

  #answerHealth(exchange: Exchange): void {
    const problem = this.health.unhealthy()
    if (problem !== null) throw problem
    sendJson(exchange, '{"status":"ok"}')
  }

  #answerMetrics({ request, response, context }: Exchange): void {
    const text = context.metrics.render(this.#service?.modelName ?? '', this.#service?.engine.stats() ?? null)
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
    response.end(request.method === 'HEAD' ? undefined : text)
  }

  #refuse(response: ServerResponse, error: unknown): void {
    if (error instanceof ClientGone) return
    const answer = toApiError(error)
    if (answer.code === 'internal_error') this.#log(error)
    sendError(response, answer)
  }
}

function answerOptions(response: ServerResponse, path: string): void {
  const methods = methodsOf(path)
  if (methods === null) throw new ApiError('unknown_route', 'There is no such route.')
  response.writeHead(204, { allow: methods })
  response.end()
}

const MAX_REQUEST_ID = 128

/** Printable ASCII, at most 128 characters; a new one when nothing is left. */
function cleanRequestId(given: string | string[] | undefined): string {
  const text = (Array.isArray(given) ? given[0] : given) ?? ''
  return text.replace(/[^\x21-\x7e]/g, '').slice(0, MAX_REQUEST_ID) || randomUUID()
}
