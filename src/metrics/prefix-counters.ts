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
  for (const prefix of PREFIXES)
    for (const suffix of SUFFIXES) {
      const lookedUp = counter(text, `${prefix}queries${suffix}`)
      const found = counter(text, `${prefix}hits${suffix}`)
      if (lookedUp !== null && found !== null) return { lookedUp, found }
    }
  return null
}

function counter(text: string, name: string): number | null {
  const samples = text.split('\n').flatMap((line) => {
    const match = /^([^\s{]+)(?:\{.*\})? (\S+)/.exec(line)
    const value = Number(match?.[2])
    return match?.[1] === name && Number.isFinite(value) ? [value] : []
  })
  return samples.length === 0 ? null : samples.reduce((sum, value) => sum + value, 0)
}
