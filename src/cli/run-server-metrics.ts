import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import { nowNs } from '../clock.js'
import { Journal } from '../result/journal.js'
import type { ServerScrape } from '../result/server-view.js'
import type { RunningTarget } from '../target.js'

const LIMIT_MS = 5000
/** More text than this is no list of metrics. */
const MAX_BYTES = 8 << 20
/** A server may count its last answer a moment after the client has it. */
const SETTLE_MS = 250

/**
 * Drives the load between two readings of an external server's own /metrics, both stored as they came (server-metrics.jsonl): before the
 * first request, warm-up included, and after the last answer, so that reading them disturbs nothing that is measured. A built-in engine's
 * step trace tells more: it is not asked. What the server does not tell is a reason in the file, never an error.
 */
export async function betweenReadings<T>(
  target: RunningTarget,
  apiKey: string | null,
  folder: string,
  drive: () => Promise<T>,
): Promise<T> {
  if (target.info.kind !== 'external') return drive()
  const journal = new Journal(join(folder, 'server-metrics.jsonl'))
  try {
    journal.append(await readMetrics(target.baseUrl, apiKey, 'before'))
    const result = await drive()
    await sleep(SETTLE_MS)
    journal.append(await readMetrics(target.baseUrl, apiKey, 'after'))
    return result
  } finally {
    journal.close()
  }
}

/** `baseUrl` with /v1; the metrics are at the root of the server. Redirects are not followed. */
export async function readMetrics(
  baseUrl: string,
  apiKey: string | null,
  when: ServerScrape['when'],
): Promise<ServerScrape> {
  const url = `${baseUrl.replace(/\/+$/, '').replace(/\/v1$/, '')}/metrics`
  const tNs = nowNs()
  const none = (httpStatus: number | null, reason: string): ServerScrape => ({
    ...{ when, url, tNs, tEndNs: nowNs(), httpStatus },
    ...{ text: null, reason },
  })
  try {
    const headers = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }
    const response = await request(url, { headers, headersTimeout: LIMIT_MS, bodyTimeout: LIMIT_MS })
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
