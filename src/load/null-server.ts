import { createServer, type Socket } from 'node:net'
import { nowNs } from '../clock.js'
import { DueQueue } from './due-queue.js'

/**
 * A server that does nothing on time: an OpenAI stream with a programmed TTFT, inter-token latency and tokens per frame, in a process of its own.
 * What a client measures on it minus what it wrote down is the client's own error. Raw sockets: it must be much cheaper than what it calibrates.
 */
export interface NullSchedule {
  ttftMs: number
  /** Between frames times tokensPerFrame: a frame of k tokens comes every k x itlMs. 0: one frame a turn of the loop, as fast as the socket takes them. */
  itlMs: number
  tokensPerFrame: number
}

/** What the server did for one request, on the monotonic clock. */
export interface NullTrace {
  requestId: string
  receivedNs: number
  wroteNs: number[]
}

interface Stream {
  socket: Socket
  trace: NullTrace
  chat: boolean
  tokens: number
  sent: number
  dueNs: number
}

const HEAD =
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n'
const MODELS = JSON.stringify({
  object: 'list',
  data: [{ id: 'null', object: 'model', created: 1, owned_by: 'pagedbench', max_model_len: 1_000_000 }],
})

/** Listens on a free port of the loopback; `onTrace` gets each request's trace when its stream has been written. */
export function serveNull(
  schedule: NullSchedule,
  onTrace: (trace: NullTrace) => void,
): Promise<{ url: string; close(): void }> {
  const queue = new DueQueue<Stream>((stream) => step(stream))
  const step = (stream: Stream) => {
    if (stream.socket.destroyed) return
    const left = stream.tokens - stream.sent
    const tokens = Math.min(schedule.tokensPerFrame, left)
    stream.trace.wroteNs.push(nowNs())
    stream.sent += tokens
    const last = stream.sent >= stream.tokens
    const frame = chunk(tokenFrame(stream, tokens))
    if (!last) {
      stream.socket.write(frame)
      stream.dueNs += schedule.itlMs * 1e6 * schedule.tokensPerFrame
      if (stream.socket.writableNeedDrain) stream.socket.once('drain', () => queue.add(stream.dueNs, stream))
      else queue.add(schedule.itlMs === 0 ? nowNs() : stream.dueNs, stream)
      return
    }
    stream.socket.write(frame + chunk(finishFrame(stream)) + chunk('data: [DONE]\n\n') + '0\r\n\r\n')
    onTrace(stream.trace)
  }
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy())
    readRequests(socket, (request) => {
      const receivedNs = nowNs()
      if (!request.streaming) {
        socket.write(json(request.path.endsWith('/models') ? MODELS : NON_STREAMED))
        return
      }
      socket.write(HEAD)
      const dueNs = receivedNs + schedule.ttftMs * 1e6
      const trace = { requestId: request.id, receivedNs, wroteNs: [] }
      queue.add(dueNs, {
        socket,
        trace,
        chat: request.path.includes('chat'),
        tokens: request.maxTokens,
        sent: 0,
        dueNs,
      })
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

function tokenFrame(stream: Stream, tokens: number): string {
  const text = ' tok'.repeat(tokens)
  const choice = stream.chat
    ? `{"index":0,"delta":{"content":"${text}"},"finish_reason":null}`
    : `{"index":0,"text":"${text}","logprobs":null,"finish_reason":null}`
  return `data: {${frameHead(stream)},"choices":[${choice}]}\n\n`
}

function finishFrame(stream: Stream): string {
  const choice = stream.chat
    ? '{"index":0,"delta":{},"finish_reason":"length"}'
    : '{"index":0,"text":"","logprobs":null,"finish_reason":"length"}'
  const usage = `{"prompt_tokens":1,"completion_tokens":${stream.tokens},"total_tokens":${stream.tokens + 1}}`
  const head = frameHead(stream)
  return `data: {${head},"choices":[${choice}]}\n\ndata: {${head},"choices":[],"usage":${usage}}\n\n`
}

function frameHead(stream: Stream): string {
  const object = stream.chat ? 'chat.completion.chunk' : 'text_completion'
  return `"id":"null-0","object":"${object}","created":1,"model":"null"`
}

const NON_STREAMED = JSON.stringify({
  id: 'null-0',
  object: 'text_completion',
  created: 1,
  model: 'null',
  choices: [{ index: 0, text: ' tok', logprobs: null, finish_reason: 'length' }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
})

/** HTTP/1.1 chunk of ASCII text. */
function chunk(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`
}

function json(body: string): string {
  return `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
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
