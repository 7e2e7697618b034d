import { parseExposition } from './exposition.js'

/** Prompt tokens that a server looked up in its prefix cache and found there, since it started. */
export interface PrefixCounters {
  lookedUp: number
  found: number
}

/** vLLM v1 and our own engines; with and without the suffix that newer exporters add. */
const PREFIXES = ['vllm:prefix_cache_', 'pagedbench:prefix_cache_']
const SUFFIXES = ['_total', '']

/** From the text of /metrics (Prometheus exposition format 0.0.4), summed over label sets; null when it has no such counters. */
export function prefixCounters(text: string): PrefixCounters | null {
  const reading = parseExposition(text)
  for (const prefix of PREFIXES)
    for (const suffix of SUFFIXES) {
      const lookedUp = reading.total(`${prefix}queries${suffix}`)
      const found = reading.total(`${prefix}hits${suffix}`)
      if (lookedUp !== null && found !== null) return { lookedUp, found }
    }
  return null
}
