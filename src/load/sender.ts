import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { Pool } from 'undici'
import { nowNs } from '../clock.js'
import { Connections } from './connections.js'
import { FrameReader } from './frame-reader.js'
import { HealthMonitor } from './health.js'
import { COUNTER, type WireRecord, type WorkerSetup } from './messages.js'
import { ActiveRequest, type RequestContext } from './request.js'
import { TokenLog } from './token-log.js'

/** Sends rows and tells of their ends: the part of a load worker that is the same in closed and open loop. */
export class Sender {
  readonly connections: Connections
  readonly health = new HealthMonitor()
  readonly reader: FrameReader
  readonly active = new Set<ActiveRequest>()
  readonly #pool: Pool
  readonly #counters: Int32Array
  readonly #bodies: Buffer
  readonly #context: RequestContext
  readonly #logs: TokenLog[] = []
  readonly #ends = new Map<ActiveRequest, (atNs: number) => void>()
  readonly #deadlines: NodeJS.Timeout
  #records: WireRecord[] = []
  #verified = 0
  #tickNs = 0
  #tickOpen = false
  /** The request whose head undici is writing now: sendHeaders and bodySent follow in the same turn. */
  #writing: ActiveRequest | null = null

  constructor(readonly setup: WorkerSetup) {
    const origin = new URL(setup.origin)
    this.connections = new Connections(origin, setup.timeouts.connectSecs)
    // Deadlines are ours: the library's default of 300 s would cut long queues. Idle sockets go after 4 s, before uvicorn's 5 s.
    this.#pool = new Pool(origin, {
      connections: setup.maxConnections,
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: 4000,
      connect: this.connections.connector,
    })
    this.#counters = new Int32Array(setup.counters)
    this.#bodies = Buffer.from(setup.bodies)
    this.reader = new FrameReader(setup.keepOutput)
    this.#context = {
      worker: setup.worker,
      reader: this.reader,
      timeouts: setup.timeouts,
      keepOutput: setup.keepOutput,
      readClockNs: () => this.#readClockNs(),
      onStart: (request) => {
        this.#writing = request
        this.health.addLag(request.sentNs! - request.intendedNs)
      },
      onTokens: (count) => Atomics.add(this.#counters, COUNTER.tokens, count),
      onEnd: (request) => this.#ended(request),
    }
    subscribe('undici:client:sendHeaders', this.#onHead)
    subscribe('undici:request:bodySent', this.#onBody)
    this.#deadlines = setInterval(() => this.#checkDeadlines(), deadlineStepMs(setup))
  }

  /** Sends row `index`. `onEnd` is called once, when it has ended in whatever way. */
  send(index: number, intendedNs: number, onEnd: (atNs: number) => void): void {
    const { setup } = this
    const row = setup.rows[index]!
    const requestId = `${setup.requestIdPrefix}-${index}`
    const log = this.#logs.pop() ?? new TokenLog(row.outputTokens + 2)
    const verify = this.#verified < setup.verifyRequests
    if (verify) this.#verified++
    const request = new ActiveRequest(this.#context, index, row, requestId, intendedNs, log, verify)
    this.active.add(request)
    this.#ends.set(request, onEnd)
    Atomics.add(this.#counters, COUNTER.sent, 1)
    Atomics.add(this.#counters, COUNTER.inFlight, 1)
    const body = this.#bodies.subarray(setup.bodyOffsets[index], setup.bodyOffsets[index + 1])
    const headers = [...setup.headers, 'x-request-id', requestId]
    request.dequeuedNs = nowNs()
    this.#pool.dispatch({ method: 'POST', path: setup.path, headers, body }, request)
  }

  /** Records ended since the last call. */
  takeRecords(): WireRecord[] {
    const records = this.#records
    this.#records = []
    return records
  }

  async close(): Promise<void> {
    clearInterval(this.#deadlines)
    unsubscribe('undici:client:sendHeaders', this.#onHead)
    unsubscribe('undici:request:bodySent', this.#onBody)
    this.connections.close()
    await this.#pool.destroy()
  }

  #ended(request: ActiveRequest): void {
    this.#records.push(request.record(this.setup.rows[request.index]!.measure ? 'measure' : 'warmup'))
    this.active.delete(request)
    request.log.reset()
    this.#logs.push(request.log)
    Atomics.sub(this.#counters, COUNTER.inFlight, 1)
    Atomics.add(this.#counters, request.outcome === 'ok' ? COUNTER.done : COUNTER.failed, 1)
    const onEnd = this.#ends.get(request)
    this.#ends.delete(request)
    onEnd?.(nowNs())
  }

  /** The first frame of a socket read takes the time; the rest of the read, in the same turn of the loop, shares it. */
  #readClockNs(): number {
    if (!this.#tickOpen) {
      this.#tickOpen = true
      this.#tickNs = nowNs()
      queueMicrotask(this.#closeTick)
    }
    return this.#tickNs
  }
  readonly #closeTick = () => {
    this.#tickOpen = false
  }

  #checkDeadlines(): void {
    const atNs = nowNs()
    for (const request of this.active) request.checkDeadlines(atNs)
  }

  readonly #onHead = (message: unknown) => {
    const { socket } = message as { socket: Socket }
    this.#writing?.onSocket(this.connections.takeFresh(socket), this.connections.wireOf(socket))
  }
  readonly #onBody = () => {
    this.#writing?.onWritten()
    this.#writing = null
  }
}

function deadlineStepMs(setup: WorkerSetup): number {
  const { headerSecs, firstTokenSecs, stallSecs, requestSecs } = setup.timeouts
  return Math.min(250, Math.max(5, Math.min(headerSecs, firstTokenSecs, stallSecs, requestSecs) * 50))
}
