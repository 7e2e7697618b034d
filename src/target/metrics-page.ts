import { request } from 'undici'
import { nowNs } from '../clock.js'
import type { ServerScrape } from '../result/server-view.js'

const LIMIT_MS = 5000
/** More text than this is no list of metrics. */
const MAX_BYTES = 8 << 20

/**
 * What a server shows at /metrics, as it came, or why not; never throws. `baseUrl` with /v1; the metrics are at the root of the server.
 * Redirects are not followed.
 */
export async function readMetrics(
  baseUrl: string,
  apiKey: string | null,
  when: ServerScrape['when'],
  signal?: AbortSignal,
): Promise<ServerScrape> {
  const url = `${baseUrl.replace(/\/+$/, '').replace(/\/v1$/, '')}/metrics`
  const tNs = nowNs()
  const none = (httpStatus: number | null, reason: string): ServerScrape => ({
    ...{ when, url, tNs, tEndNs: nowNs(), httpStatus },
    ...{ text: null, reason },
  })
  try {
    const headers = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }
    const response = await request(url, {
      ...{ headers, headersTimeout: LIMIT_MS, bodyTimeout: LIMIT_MS },
      ...(signal ? { signal } : {}),
    })
    const { statusCode, body } = response
    const parts: Buffer[] = []
    let bytes = 0
    for await (const part of body as AsyncIterable<Buffer>) {
      bytes += part.length
      if (bytes > MAX_BYTES) return none(statusCode, `more than ${MAX_BYTES} bytes`)
      parts.push(part)
    }
    if (statusCode !== 200)
      return none(statusCode, `HTTP ${statusCode}: the server shows no metrics${hint(statusCode)}`)
    const text = Buffer.concat(parts).toString('utf8')
    return { when, url, tNs, tEndNs: nowNs(), httpStatus: statusCode, text, reason: null }
  } catch (cause) {
    const { message, code } = cause as NodeJS.ErrnoException
    return none(null, message || code || 'it could not be read')
  }
}

/** llama.cpp and SGLang show theirs only when started with a flag. */
function hint(status: number): string {
  return status === 404 || status === 501 ? ' (llama.cpp: --metrics; SGLang: --enable-metrics)' : ''
}
