import { createServer, type Socket } from 'node:net'
import { nowNs } from '../clock.js'
import { COUNTER, type WorkerSetup } from './messages.js'
import { NullFrames, STREAM_HEAD } from './null-frames.js'
import { Sender } from './sender.js'

const LANES = 8
const TOKENS = 16
const MAX_REQUESTS = 400
const MAX_NS = 250e6

/**
 * Drives a stub in this thread with the worker's own code before the run, a quarter of a second at most. Code that has not run yet is interpreted: on an
 * AMD EPYC core the first request took 40 ms to leave and the next hundreds 0.4 ms each, ten times what they take later, and a server would have
 * been blamed for it. Touches neither the target nor the run's counters. Gives the requests it drove to a good end: 0 on a machine where it cannot listen,
 * which then starts cold.
 */
export async function rehearse(setup: WorkerSetup): Promise<number> {
  const stub = await startStub()
  if (stub === null) return 0
  const sender = new Sender(stubSetup(setup, stub.origin))
  const untilNs = nowNs() + MAX_NS
  let left = MAX_REQUESTS
  const lane = async () => {
    while (left-- > 0 && nowNs() < untilNs) {
      await new Promise<void>((resolve) => sender.send(0, nowNs(), () => resolve()))
    }
  }
  await sender.connections.open(LANES)
  await Promise.all(Array.from({ length: LANES }, lane))
  const done = sender.takeRecords().filter((record) => record.outcome === 'ok').length
  await sender.close()
  stub.close()
  return done
}

function stubSetup(setup: WorkerSetup, origin: string): WorkerSetup {
  const body = Buffer.from('{"stream":true}')
  const bodies = new SharedArrayBuffer(body.length)
  body.copy(Buffer.from(bodies))
  return {
    ...setup,
    origin,
    headers: ['content-type', 'application/json'],
    requestIdPrefix: 'rehearsal',
    bodies,
    bodyOffsets: Float64Array.of(0, body.length),
    rows: [{ measure: false, dueNs: null, thinkNs: 0, inputTokens: 1, outputTokens: TOKENS, exactOutput: true }],
    connections: LANES,
    maxConnections: LANES,
    counters: new SharedArrayBuffer(COUNTER.size * Int32Array.BYTES_PER_ELEMENT),
  }
}

/** Answers every request with the same stream, in reads of their own. Null: it cannot listen. */
function startStub(): Promise<{ origin: string; close(): void } | null> {
  const frames = new NullFrames(false, 1)
  const parts = [STREAM_HEAD, ...Array<Buffer>(3).fill(frames.whole(4)), frames.end(TOKENS, TOKENS - 12)]
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('data', (data) => {
      if (data.at(-1) === CLOSING_BRACE) answer(socket, 0)
    })
  })
  const answer = (socket: Socket, part: number) => {
    if (part === parts.length || socket.destroyed) return
    socket.write(parts[part]!)
    setImmediate(() => answer(socket, part + 1))
  }
  return new Promise((resolve) => {
    server.once('error', () => resolve(null))
    server.listen(0, '127.0.0.1', () => {
      const close = () => {
        server.close()
        for (const socket of sockets) socket.destroy()
      }
      resolve({ origin: `http://127.0.0.1:${(server.address() as { port: number }).port}`, close })
    })
  })
}

/** The last byte of the request's body. */
const CLOSING_BRACE = 125
