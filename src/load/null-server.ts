import { createServer, type Socket } from 'node:net'
import { nowNs } from '../clock.js'
import { DueQueue } from './due-queue.js'
import { MODELS, NON_STREAMED, NullFrames, STREAM_HEAD } from './null-frames.js'

/**
 * A server that does nothing on time: an OpenAI stream with a programmed TTFT, inter-token latency and tokens per frame, in a process of its own.
 * What a client measures on it minus what it wrote down is the client's own error. Raw sockets: it must be much cheaper than what it calibrates.
 */
export interface NullSchedule {
  ttftMs: number
  /** Between frames times tokensPerFrame: a frame of k tokens comes every k x itlMs. 0: a flood, as fast as the sockets take it. */
  itlMs: number
  tokensPerFrame: number
  /** In a flood: frames of one stream in one socket write, as from a server whose send queue is behind. Default 1. */
  framesPerWrite?: number
}

/** What the server did for one request, on the monotonic clock. */
export interface NullTrace {
  requestId: string
  receivedNs: number
  /** One entry a frame, taken just before its write. */
  wroteNs: number[]
}

interface Stream {
  socket: Socket
  trace: NullTrace
  frames: NullFrames
  tokens: number
  sent: number
  dueNs: number
}

/** A server that is late writes what is due in one go, up to this many frames. */
const MAX_LATE_FRAMES = 64

/** Listens on a free port of the loopback; `onTrace` gets each request's trace when its stream has been written. */
export function serveNull(
  schedule: NullSchedule,
  onTrace: (trace: NullTrace) => void,
): Promise<{ url: string; close(): void }> {
  const frameNs = schedule.itlMs * 1e6 * schedule.tokensPerFrame
  const queue = new DueQueue<Stream>((stream) => step(stream))
  const framesDue = (stream: Stream, atNs: number) =>
    frameNs === 0
      ? (schedule.framesPerWrite ?? 1)
      : Math.min(MAX_LATE_FRAMES, 1 + Math.max(0, Math.floor((atNs - stream.dueNs) / frameNs)))
  const step = (stream: Stream) => {
    const { socket, trace, tokens } = stream
    if (socket.destroyed) return
    const atNs = nowNs()
    const left = tokens - stream.sent
    const frames = framesDue(stream, atNs)
    if (frames * schedule.tokensPerFrame >= left) {
      for (let token = 0; token < left; token += schedule.tokensPerFrame) trace.wroteNs.push(atNs)
      socket.write(stream.frames.end(tokens, left))
      onTrace(trace)
      return
    }
    for (let frame = 0; frame < frames; frame++) trace.wroteNs.push(atNs)
    stream.sent += frames * schedule.tokensPerFrame
    stream.dueNs = frameNs === 0 ? atNs : stream.dueNs + frames * frameNs
    if (socket.write(stream.frames.whole(frames))) queue.add(stream.dueNs, stream)
    else socket.once('drain', () => queue.add(stream.dueNs, stream))
  }
  const shapes = {
    chat: new NullFrames(true, schedule.tokensPerFrame),
    completions: new NullFrames(false, schedule.tokensPerFrame),
  }
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy())
    readRequests(socket, (request) => {
      const receivedNs = nowNs()
      if (!request.streaming) {
        socket.write(request.path.endsWith('/models') ? MODELS : NON_STREAMED)
        return
      }
      socket.write(STREAM_HEAD)
      const dueNs = receivedNs + schedule.ttftMs * 1e6
      const trace = { requestId: request.id, receivedNs, wroteNs: [] }
      const frames = request.path.includes('chat') ? shapes.chat : shapes.completions
      queue.add(dueNs, { socket, trace, frames, tokens: request.maxTokens, sent: 0, dueNs })
    })
  })
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', 4096, () => {
      const { port } = server.address() as { port: number }
      const close = () => {
        server.close()
        queue.stop()
        for (const socket of sockets) socket.destroy()
      }
      resolve({ url: `http://127.0.0.1:${port}/v1`, close })
    })
  })
}

interface NullRequest {
  path: string
  id: string
  maxTokens: number
  streaming: boolean
}

/** Just enough HTTP/1.1: a head, then content-length bytes of body, again and again on one connection. */
function readRequests(socket: Socket, onRequest: (request: NullRequest) => void): void {
  let held: Buffer = Buffer.alloc(0)
  socket.on('data', (data) => {
    held = held.length === 0 ? data : Buffer.concat([held, data])
    for (;;) {
      const end = held.indexOf('\r\n\r\n')
      if (end === -1) return
      const head = held.toString('latin1', 0, end)
      const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
      if (held.length < end + 4 + length) return
      const body = held.toString('latin1', end + 4, end + 4 + length)
      held = held.subarray(end + 4 + length)
      onRequest({
        path: head.split(' ', 2)[1] ?? '/',
        id: /\r\nx-request-id: *([^\r]*)/i.exec(head)?.[1] ?? '',
        maxTokens: Math.max(1, Number(/"max_(?:completion_)?tokens": *(\d+)/.exec(body)?.[1] ?? 16)),
        streaming: /"stream": *true/.test(body),
      })
    }
  })
}
