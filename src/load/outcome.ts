import type { Outcome } from '../result/schema.js'
import { errorText, oneLine } from './frame.js'

/** The class of an HTTP answer that is not a 200 with an event stream; null: it is one. */
export function responseOutcome(status: number, contentType: string, contentEncoding: string): Outcome | null {
  if (status >= 300 && status < 400) return 'http-redirect'
  if (status === 429) return 'http-429'
  if (status >= 500) return 'http-5xx'
  if (status >= 400) return 'http-4xx'
  if (status !== 200 || !/^text\/event-stream\b/i.test(contentType)) return 'content-type'
  // Nothing asked for compression, and bytes could not be stamped through it.
  return contentEncoding === '' || contentEncoding === 'identity' ? null : 'content-type'
}

/** The class of an error of the HTTP library, by its code; `sent`: the request had been written to a socket. */
export function errorOutcome(error: Error, sent: boolean): { outcome: Outcome; detail: string } {
  const code = 'code' in error ? String(error.code) : ''
  const detail = oneLine(`${code} ${error.message}`)
  if (code.startsWith('HPE_') || code === 'UND_ERR_HEADERS_OVERFLOW' || error.name === 'HTTPParserError') {
    return { outcome: 'bad-frame', detail: `not HTTP: ${detail}` }
  }
  return { outcome: sent ? 'reset' : 'connect-failed', detail }
}

/** One line of an error body: its message when it is JSON, its text without tags when it is HTML. */
export function bodyText(body: string): string {
  try {
    return body === '' ? '' : errorText(JSON.parse(body))
  } catch {
    return oneLine(body.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' '))
  }
}
