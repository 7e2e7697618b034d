import { createServer, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import type { Outcome } from '../../src/result/schema.js'
import { chat, done, event, text, usage } from './stream-fixture.js'

/** How a server misbehaves (or behaves oddly but legally), and the one class its requests must land in. */
export interface HostileCase {
  name: string
  outcome: Outcome
  answer(socket: Socket): void
}

const SSE = 'content-type: text/event-stream\r\n'
const head = (status = '200 OK', headers = SSE) => `HTTP/1.1 ${status}\r\n${headers}transfer-encoding: chunked\r\n\r\n`
const chunk = (body: string | Buffer) => {
  const bytes = Buffer.from(body)
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
}
const end = '0\r\n\r\n'
const three = text('a') + text('b') + text('c')
const finish = text('', 'length')
const sized = (status: string, headers: string, body: string | Buffer) => {
  const bytes = Buffer.from(body)
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status}\r\n${headers}content-length: ${bytes.length}\r\n\r\n`), bytes])
}
const json = 'content-type: application/json\r\n'
const html = 'content-type: text/html\r\n'
const error = (message: string) => JSON.stringify({ error: { message, type: 'server_error', code: null } })

const write =
  (...parts: (string | Buffer)[]) =>
  (socket: Socket) => {
    for (const part of parts) socket.write(part)
  }
const stream = (body: string | Buffer) => write(head(), chunk(body), end)
/** Writes, then does something to the socket once the bytes are out. */
const then = (bytes: (string | Buffer)[], act: (socket: Socket) => void) => (socket: Socket) => {
  write(...bytes)(socket)
  setTimeout(() => act(socket), 15)
}
const again = (everyMs: number, bytes: () => string | Buffer) => (socket: Socket) => {
  const timer = setInterval(() => socket.write(bytes()), everyMs)
  socket.on('close', () => clearInterval(timer))
}
const reset = (socket: Socket) => socket.resetAndDestroy()
const fin = (socket: Socket) => socket.end()
const nothing = () => {}

const c = (name: string, outcome: Outcome, answer: (socket: Socket) => void): HostileCase => ({ name, outcome, answer })

/** Forty faults; none may count as success. */
export const FAULTS: HostileCase[] = [
  c('hang before headers', 'header-timeout', nothing),
  c('hang in the middle of headers', 'header-timeout', write('HTTP/1.1 200 OK\r\ncontent-')),
  c('hang after headers', 'first-token-timeout', write(head())),
  c('hang after a role frame', 'first-token-timeout', write(head(), chunk(chat({ role: 'assistant', content: '' })))),
  c('hang after three tokens', 'stall-timeout', write(head(), chunk(three))),
  c('hang in the middle of a frame', 'stall-timeout', write(head(), chunk(three), chunk('data: {"choi'))),
  c('endless comments, no token', 'first-token-timeout', (s) =>
    [write(head()), again(20, () => chunk(': ping\n\n'))].map((f) => f(s)),
  ),
  c('endless comments after tokens', 'stall-timeout', (s) =>
    [write(head(), chunk(three)), again(20, () => chunk(': ping\n\n'))].map((f) => f(s)),
  ),
  c('endless tokens', 'request-timeout', (s) => [write(head()), again(60, () => chunk(text('a')))].map((f) => f(s))),
  c('reset at once', 'reset', then([], reset)),
  c('reset after headers', 'reset', then([head()], reset)),
  c('reset after three tokens', 'reset', then([head(), chunk(three)], reset)),
  c('reset after the finish, body not ended', 'reset', then([head(), chunk(three + finish)], reset)),
  c('close at once', 'reset', then([], fin)),
  c('close after headers', 'reset', then([head()], fin)),
  c('close after three tokens', 'reset', then([head(), chunk(three)], fin)),
  c(
    'close short of the content length',
    'reset',
    then([`HTTP/1.1 200 OK\r\n${SSE}content-length: 9999\r\n\r\n${three}`], fin),
  ),
  c('not HTTP', 'bad-frame', write('SSH-2.0-OpenSSH_9.6\r\n\r\n')),
  c('headers of 40 KB', 'bad-frame', write(`HTTP/1.1 200 OK\r\nx-pad: ${'x'.repeat(40_000)}\r\n\r\n`)),
  c('a frame of garbage', 'bad-frame', stream(`${three}data: {{{{\n\n${finish}${done}`)),
  c('a frame that is a number', 'bad-frame', stream(`${three}data: 7\n\n${finish}${done}`)),
  c(
    'a frame that is not UTF-8',
    'bad-frame',
    stream(
      Buffer.concat([
        Buffer.from(three),
        Buffer.from('data: {"choices":[{"index":0,"text":"\xff\xfe"}]}\n\n', 'latin1'),
      ]),
    ),
  ),
  c('a line of more than a mebibyte', 'bad-frame', stream(`data: ${'x'.repeat(1_200_000)}\n\n`)),
  c(
    'two choices',
    'bad-frame',
    stream(
      event({
        choices: [
          { index: 0, text: 'a' },
          { index: 1, text: 'b' },
        ],
      }),
    ),
  ),
  c('the wrong choice', 'bad-frame', stream(event({ choices: [{ index: 3, text: 'a' }] }))),
  c('two finish reasons', 'bad-frame', stream(three + finish + finish + done)),
  c('tokens after the finish', 'bad-frame', stream(three + finish + three + done)),
  c('no finish, but [DONE]', 'truncated', stream(three + usage(3) + done)),
  c('no finish, no [DONE]', 'truncated', stream(three)),
  c('an empty stream', 'truncated', write(head(), end)),
  c('usage one too many', 'usage-mismatch', stream(three + finish + usage(9) + done)),
  c('usage of nothing', 'usage-mismatch', stream(three + finish + usage(0) + done)),
  c(
    '429 with Retry-After',
    'http-429',
    write(sized('429 Too Many Requests', `${json}retry-after: 1\r\n`, error('slow down'))),
  ),
  c('500 with JSON', 'http-5xx', write(sized('500 Internal Server Error', json, error('boom')))),
  c('502 with HTML', 'http-5xx', write(sized('502 Bad Gateway', html, '<html><h1>502 Bad Gateway</h1></html>'))),
  c(
    '503 with Retry-After',
    'http-5xx',
    write(sized('503 Service Unavailable', `${json}retry-after: 9\r\n`, error('draining'))),
  ),
  c('400 with JSON', 'http-4xx', write(sized('400 Bad Request', json, error('too long')))),
  c('401 with an empty body', 'http-4xx', write(sized('401 Unauthorized', '', ''))),
  c('404 with a body that never ends', 'http-4xx', (s) =>
    [write(head('404 Not Found', html)), again(100, () => chunk('x'))].map((f) => f(s)),
  ),
  c('a redirect to itself', 'http-redirect', write(sized('302 Found', 'location: /v1/completions\r\n', ''))),
  c(
    '200 with JSON',
    'content-type',
    write(sized('200 OK', json, '{"choices":[{"index":0,"text":"a","finish_reason":"stop"}]}')),
  ),
  c('200 with HTML', 'content-type', write(sized('200 OK', html, '<html>welcome</html>'))),
  c('204', 'content-type', write('HTTP/1.1 204 No Content\r\n\r\n')),
  c(
    'gzip that was not asked for',
    'content-type',
    write(sized('200 OK', `${SSE}content-encoding: gzip\r\n`, gzipSync(three + finish + done))),
  ),
  c('an error event at once', 'stream-error', stream(event({ error: { message: 'no blocks' } }) + done)),
  c('an error event after tokens', 'stream-error', stream(three + event({ error: 'engine died' }) + done)),
  c('an event named error', 'stream-error', stream(`${three}event: error\ndata: out of memory\n\n`)),
]

const good = three + finish + usage(3) + done
/** Odd, but legal: each is a success with three tokens. */
export const DIALECTS: HostileCase[] = [
  c('as it should be', 'ok', stream(good)),
  c('one byte a write', 'ok', (socket) => {
    const bytes = Buffer.concat([Buffer.from(head()), chunk(good), Buffer.from(end)])
    let at = 0
    const step = () => {
      if (socket.destroyed || at >= bytes.length) return
      socket.write(bytes.subarray(at, ++at))
      setImmediate(step)
    }
    step()
  }),
  c('CRLF', 'ok', stream(good.replaceAll('\n', '\r\n'))),
  c('no space after data:', 'ok', stream(good.replaceAll('data: ', 'data:'))),
  c('comments between frames', 'ok', stream(good.replaceAll('data: ', ': ping\n\ndata: '))),
  c('a byte order mark', 'ok', stream(`\ufeff${good}`)),
  c('finish without [DONE]', 'ok', stream(three + finish)),
  c('usage missing', 'ok', stream(three + finish + done)),
  c('a chunk a frame', 'ok', write(head(), ...good.split(/(?<=\n\n)/).map(chunk), end)),
  c('HTTP/1.0 until close', 'ok', then([`HTTP/1.0 200 OK\r\n${SSE}\r\n${good}`], fin)),
  c('tokens in the finish frame', 'ok', stream(text('a') + text('b') + text('c', 'length') + usage(3) + done)),
  c('usage null on every frame', 'ok', stream(good.replaceAll('}]}', '}],"usage":null}'))),
]

/** Answers each request by the case its x-request-id ends with: '...-17' gets cases[17 mod length]. */
export function startHostileServer(
  cases: readonly HostileCase[],
): Promise<{ url: string; requests: number[]; close(): void }> {
  const sockets = new Set<Socket>()
  const requests: number[] = []
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    let held = ''
    socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy())
    socket.on('data', (data) => {
      held += data.toString('latin1')
      const split = held.indexOf('\r\n\r\n')
      if (split === -1) return
      const length = Number(/content-length: *(\d+)/i.exec(held)?.[1] ?? 0)
      if (held.length < split + 4 + length) return
      const id = Number(/x-request-id: *\S*?(\d+)\r\n/i.exec(held)![1])
      held = ''
      requests.push(id)
      cases[id % cases.length]!.answer(socket)
    })
  })
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      const close = () => {
        server.close()
        for (const socket of sockets) socket.destroy()
      }
      resolve({ url: `http://127.0.0.1:${port}/v1`, requests, close })
    })
  })
}
