import type { IncomingMessage } from 'node:http'
import { monotonicNs } from '../clock.js'
import { ApiError } from './api-error.js'
import type { Exchange } from './exchange.js'
import { type ParsedJson, parseJson } from './json.js'

/** The client hung up while its body was being read: there is nobody to answer. */
export class ClientGone extends Error {
  readonly code = 'client_gone'
}

/** Reads and parses a JSON body. arrivalNs is CLOCK_MONOTONIC when its last byte was read. Throws ApiError or ClientGone. */
export async function readBody(exchange: Exchange): Promise<ParsedJson & { arrivalNs: number }> {
  const { request, response, context } = exchange
  checkMediaType(request)
  const limit = context.maxBodyBytes
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge(limit)
  if (request.headers.expect !== undefined) response.writeContinue()
  const bytes = await collect(request, limit)
  const arrivalNs = monotonicNs()
  return { ...parseJson(bytes), arrivalNs }
}

function checkMediaType(request: IncomingMessage): void {
  const [type, ...parameters] = (request.headers['content-type'] ?? '')
    .split(';')
    .map((part) => part.trim().toLowerCase())
  if (type !== 'application/json') {
    throw new ApiError('unsupported_media_type', 'Content-Type must be application/json.')
  }
  const charset = parameters.find((parameter) => parameter.startsWith('charset='))
  if (charset !== undefined && !/^charset="?utf-?8"?$/.test(charset)) {
    throw new ApiError('unsupported_media_type', 'The charset must be utf-8.')
  }
  const encoding = request.headers['content-encoding'] ?? 'identity'
  if (encoding.toLowerCase() !== 'identity') {
    throw new ApiError('unsupported_media_type', 'A compressed body is not accepted.')
  }
}

function collect(request: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > limit) {
        request.removeAllListeners('data')
        reject(tooLarge(limit))
      } else chunks.push(chunk)
    })
    request.once('end', () => resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)))
    request.once('error', () => reject(new ClientGone('The client hung up while sending its body.')))
    request.once('close', () => reject(new ClientGone('The client hung up while sending its body.')))
  })
}

function tooLarge(limit: number): ApiError {
  return new ApiError('body_too_large', `The body is larger than ${limit} bytes.`, null, {
    headers: { connection: 'close' },
  })
}
