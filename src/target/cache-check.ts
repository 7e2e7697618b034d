import { type PrefixCounters, prefixCounters } from '../metrics/prefix-counters.js'
import type { CacheCheck, CacheProbe } from '../result/schema.js'
import type { ServerScrape } from '../result/server-view.js'
import { type ProbeInput, probeCache } from './cache-probe.js'
import { readMetrics } from './metrics-page.js'

export interface CacheCheckInput extends ProbeInput {
  /** What an earlier block of the same target found; null: this is its first. */
  earlier: CacheCheck | null
}

/** What is known before the load; ends with the block. */
export interface OpenCacheCheck {
  counters: PrefixCounters | null
  before: CacheProbe | null
}

/**
 * Before the load of a server that is not ours: its own hit counters when /metrics has them, else a probe. What a server was found to report with
 * every answer needs no second probe.
 */
export async function openCacheCheck(input: CacheCheckInput): Promise<OpenCacheCheck> {
  const counters = await readCounters(input, 'before')
  if (counters !== null) return { counters, before: null }
  const reports = input.earlier?.before?.reportsCachedTokens === true
  return { counters: null, before: reports ? input.earlier!.before : await probeCache(input) }
}

/** After the load: the counters' gain, or a second probe, so that a cache that came or went in between is seen. */
export async function closeCacheCheck(open: OpenCacheCheck, input: CacheCheckInput): Promise<CacheCheck> {
  if (open.counters !== null) {
    const now = await readCounters(input, 'after')
    return { counters: now === null ? null : gain(open.counters, now), before: null, after: null }
  }
  const again = open.before?.reportsCachedTokens !== true && !input.signal?.aborted
  return { counters: null, before: open.before, after: again ? await probeCache(input) : null }
}

/** Null when the counters went back: the server was restarted in between. */
function gain(first: PrefixCounters, last: PrefixCounters): PrefixCounters | null {
  const lookedUp = last.lookedUp - first.lookedUp
  const found = last.found - first.found
  return lookedUp < 0 || found < 0 ? null : { lookedUp, found }
}

async function readCounters(
  { target, signal }: CacheCheckInput,
  when: ServerScrape['when'],
): Promise<PrefixCounters | null> {
  const { text } = await readMetrics(target.baseUrl, target.apiKey, when, signal)
  return text === null ? null : prefixCounters(text)
}
