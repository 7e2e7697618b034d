import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isIP } from 'node:net'
import { ApiError } from './api-error.js'

export interface AccessOptions {
  /** null: no key is asked for. */
  apiKey: string | null
  /** Names clients may call this server by, beside localhost and plain addresses. */
  allowedHosts: readonly string[]
  /** Origins of browser pages that may call it; none by default. */
  allowedOrigins: readonly string[]
  /** /metrics without the key. */
  openMetrics: boolean
}

/** Who may ask: by Host (against DNS rebinding), Origin (CORS, never with credentials) and API key. Throws ApiError. */
export class Access {
  readonly #keyDigest: Buffer | null
  readonly #hosts: ReadonlySet<string>
  readonly #origins: ReadonlySet<string>
  readonly #openPaths: ReadonlySet<string>

  constructor(options: AccessOptions) {
    this.#keyDigest = options.apiKey === null ? null : digest(options.apiKey)
    this.#hosts = new Set(['localhost', ...options.allowedHosts.map((host) => host.toLowerCase())])
    this.#origins = new Set(options.allowedOrigins)
    this.#openPaths = new Set(options.openMetrics ? ['/health', '/metrics'] : ['/health'])
  }

  check(request: IncomingMessage, response: ServerResponse, path: string): void {
    this.#checkHost(request)
    this.#checkOrigin(request, response)
    // A browser's preflight carries no key, and tells nothing but which methods there are.
    if (this.#keyDigest !== null && !this.#openPaths.has(path) && request.method !== 'OPTIONS') {
      checkKey(request.headers.authorization, this.#keyDigest)
    }
  }

  #checkHost(request: IncomingMessage): void {
    const hosts = request.headersDistinct['host'] ?? []
    if (hosts.length === 0 && request.httpVersion === '1.0') return
    if (hosts.length !== 1) throw new ApiError('bad_http', 'Exactly one Host header is required.')
    const name = hosts[0].replace(/:\d*$/, '').toLowerCase()
    // A rebinding attack needs a name of the attacker's; an address cannot be rebound.
    if (isIP(name.replace(/^\[|\]$/g, '')) === 0 && !this.#hosts.has(name)) {
      throw new ApiError('forbidden_host', 'This Host is not allowed (see --allowed-hosts).')
    }
  }

  #checkOrigin(request: IncomingMessage, response: ServerResponse): void {
    const { origin } = request.headers
    if (origin === undefined) return
    if (!this.#origins.has(origin)) {
      throw new ApiError('forbidden_origin', 'This Origin is not allowed (see --allowed-origins).')
    }
    response.setHeader('access-control-allow-origin', origin)
    response.setHeader('vary', 'Origin')
    if (request.method === 'OPTIONS') {
      response.setHeader('access-control-allow-methods', 'GET, POST, OPTIONS')
      response.setHeader('access-control-allow-headers', 'authorization, content-type, x-request-id')
      response.setHeader('access-control-max-age', '600')
    }
  }
}

/** `Authorization: Bearer <key>`, exactly. Digests are compared, so that time tells nothing of the key or its length. */
function checkKey(authorization: string | undefined, keyDigest: Buffer): void {
  const given = authorization?.startsWith('Bearer ') ? authorization.slice('Bearer '.length) : null
  if (given === null || !timingSafeEqual(digest(given), keyDigest)) {
    throw new ApiError('invalid_api_key', 'A valid API key is required: Authorization: Bearer <key>.', null, {
      headers: { 'www-authenticate': 'Bearer' },
    })
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
