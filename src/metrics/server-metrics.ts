import type { RequestRecord } from '../result/schema.js'
import type { ServerCount, ServerPart, ServerPartName, ServerScrape, ServerSplit } from '../result/server-view.js'
import { type Exposition, parseExposition } from './exposition.js'
import { DIALECTS, type Dialect } from './server-dialects.js'

/** Where the time went on a server that has no per-request trace, from its own counters; null when they were never asked for. */
export function serverSplit(scrapes: readonly ServerScrape[], records: readonly RequestRecord[]): ServerSplit | null {
  const [before, after] = (['before', 'after'] as const).map((when) => scrapes.find((one) => one.when === when))
  if (before === undefined) return null
  const nothing = (why: string): ServerSplit => ({ ...EMPTY, url: before.url, why })
  if (before.text === null) return nothing(before.reason ?? 'it gave no text')
  if (after === undefined) return nothing('it was not read again: the block did not end')
  if (after.text === null) return nothing(`read again after the block: ${after.reason ?? 'it gave no text'}`)
  const first = parseExposition(before.text)
  const last = parseExposition(after.text)
  const dialect = DIALECTS.find((one) => last.has(one.prefix))
  if (dialect === undefined)
    return nothing(`none of the names of ${DIALECTS.map((one) => one.server).join(', ')} is in it`)
  return splitBetween(new Gains(first, last), dialect, before.url, records)
}

const EMPTY: Omit<ServerSplit, 'url'> = {
  server: null,
  parts: [],
  clientTtftMs: null,
  restMs: null,
  prefixHitShare: null,
  count: null,
  cannotSay: [],
  why: null,
}

/** What grew between two readings. */
class Gains {
  constructor(
    private readonly first: Exposition,
    private readonly last: Exposition,
  ) {}

  /** Null when the name is absent afterwards, or went back (the server restarted). A name that appears with its first request began at 0. */
  of(name: string, labels?: Record<string, string>): number | null {
    const last = this.last.total(name, labels)
    if (last === null) return null
    const gain = last - (this.first.total(name, labels) ?? 0)
    return gain < 0 ? null : gain
  }

  firstOf(names: readonly string[]): number | null {
    for (const name of names) {
      const gain = this.of(name)
      if (gain !== null) return gain
    }
    return null
  }
}

function splitBetween(gains: Gains, dialect: Dialect, url: string, records: readonly RequestRecord[]): ServerSplit {
  const sent = records.filter((record) => record.sentNs !== null)
  const answered = sent.filter((record) => record.outcome === 'ok' && record.firstTokenNs !== null)
  const parts = PART_ORDER.flatMap((part) => partOf(gains, dialect, part, answered.length) ?? [])
  const ttfts = answered.map((record) => (record.firstTokenNs! - record.intendedNs) / 1e6)
  const clientTtftMs = ttfts.length === 0 ? null : ttfts.reduce((sum, ms) => sum + ms, 0) / ttfts.length
  const known = parts.filter(({ part }) => part === 'queue' || part === 'prefill')
  const queries = dialect.cache === null ? null : gains.firstOf(dialect.cache.queries)
  const hits = dialect.cache === null ? null : gains.firstOf(dialect.cache.hits)
  return {
    server: dialect.server,
    url,
    parts,
    clientTtftMs,
    restMs:
      clientTtftMs === null || !known.some(({ part }) => part === 'prefill')
        ? null
        : clientTtftMs - known.reduce((sum, { meanMs }) => sum + meanMs, 0),
    prefixHitShare: hits === null || queries === null || queries <= 0 ? null : hits / queries,
    count: countOf(gains, dialect, records),
    cannotSay: dialect.cannotSay,
    why: parts.length > 0 ? null : `${dialect.server} counted no request between the two readings, or was restarted`,
  }
}

const PART_ORDER: readonly ServerPartName[] = ['queue', 'prefill', 'inference', 'decode', 'ttft']

function partOf(gains: Gains, dialect: Dialect, part: ServerPartName, requests: number): ServerPart | null {
  const histogram = dialect.parts[part]
  if (histogram !== undefined) {
    const { name, labels } = histogram
    const [sum, n] = [gains.of(`${name}_sum`, labels), gains.of(`${name}_count`, labels)]
    const metric = labels === undefined ? name : `${name}{${Object.entries(labels).map(([k, v]) => `${k}="${v}"`)}}`
    return sum === null || n === null || n === 0 ? null : { part, meanMs: (sum / n) * 1000, n, metric }
  }
  const counter = dialect.seconds?.[part]
  const secs = counter === undefined ? null : gains.of(counter)
  return secs === null || requests === 0
    ? null
    : { part, meanMs: (secs / requests) * 1000, n: requests, metric: counter! }
}

/** A request that ended well was surely counted; one that failed may have been. */
function countOf(gains: Gains, dialect: Dialect, records: readonly RequestRecord[]): ServerCount | null {
  if (dialect.count === null) return null
  const { name, unit } = dialect.count
  const server = gains.of(name)
  if (server === null) return null
  const sent = records.filter((record) => record.sentNs !== null)
  const ok = sent.filter((record) => record.outcome === 'ok')
  const sum = (of: readonly RequestRecord[], amount: (record: RequestRecord) => number) =>
    of.reduce((total, record) => total + (unit === 'requests' ? 1 : amount(record)), 0)
  const least = sum(ok, (record) => record.counted)
  const most = sum(sent, (record) => (record.outcome === 'ok' ? record.counted : record.outputTokens))
  // A server may count the token that ended an answer, which no frame brings: one a request.
  const slack = unit === 'requests' ? 0 : sent.length
  return {
    metric: name,
    unit,
    server,
    least,
    most,
    warmupRequests: sent.filter((record) => record.phase === 'warmup').length,
    measuredRequests: sent.filter((record) => record.phase === 'measure').length,
    verdict: server > most + slack ? 'other clients' : server < least - slack ? 'counts fewer' : 'agrees',
  }
}
