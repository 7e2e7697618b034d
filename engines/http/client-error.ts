import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { API_ERRORS, ApiError, type ApiErrorCode, errorBody } from './api-error.js'

/** Which sockets have an answer under way: nothing may be written between its bytes. */
export class BusySockets {
  readonly #answers = new WeakMap<Duplex, number>()

  enter(socket: Duplex, response: ServerResponse): void {
    this.#answers.set(socket, (this.#answers.get(socket) ?? 0) + 1)
    response.once('close', () => this.#answers.set(socket, (this.#answers.get(socket) ?? 1) - 1))
  }

  has(socket: Duplex): boolean {
    return (this.#answers.get(socket) ?? 0) > 0
  }
}

/** Bytes that are no HTTP request, or too late or too long a one: an error body like any other, then the connection ends. */
export function answerClientError(error: NodeJS.ErrnoException, socket: Duplex, busy: BusySockets): void {
  if (error.code === 'ECONNRESET' || !socket.writable || busy.has(socket)) {
    socket.destroy()
    return
  }
  const code = classify(error.code)
  const body = errorBody(new ApiError(code, MESSAGES[code]))
  const [status] = API_ERRORS[code]
  socket.end(
    `HTTP/1.1 ${status} ${REASONS[code]}\r\nContent-Type: application/json; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
  // The rest of a bad request may still be on its way; a client that does not close is closed.
  setTimeout(() => socket.destroy(), 1000).unref()
}

type ClientErrorCode = Extract<ApiErrorCode, 'headers_too_large' | 'request_timeout' | 'bad_http'>

const MESSAGES: Record<ClientErrorCode, string> = {
  headers_too_large: 'The request headers are larger than 16 KiB.',
  request_timeout: 'The request was not complete in time.',
  bad_http: 'This is not a valid HTTP/1.1 request.',
}
const REASONS: Record<ClientErrorCode, string> = {
  headers_too_large: 'Request Header Fields Too Large',
  request_timeout: 'Request Timeout',
  bad_http: 'Bad Request',
}

function classify(code: string | undefined): ClientErrorCode {
  if (code === 'HPE_HEADER_OVERFLOW') return 'headers_too_large'
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return 'request_timeout'
  return 'bad_http'
}
