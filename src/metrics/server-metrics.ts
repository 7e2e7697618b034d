/** Sum and count of a Prometheus histogram or summary, over all label sets. */
export interface Accumulated {
  sum: number
  count: number
}

/** What a server's own histograms say between two scrapes, ms a request; null where it has no such metric. */
export interface ServerSplit {
  queueMs: number | null
  prefillMs: number | null
  ttftMs: number | null
  /** Prompt tokens found in the prefix cache / looked up. */
  prefixHitShare: number | null
}

/** Metric names by server: vLLM v1, our own engines, TGI, llama.cpp has none of these. */
const NAMES = {
  queue: ['vllm:request_queue_time_seconds', 'pagedbench:request_queue_time_seconds', 'tgi_request_queue_duration'],
  prefill: ['vllm:request_prefill_time_seconds', 'pagedbench:request_prefill_time_seconds'],
  ttft: ['vllm:time_to_first_token_seconds', 'pagedbench:time_to_first_token_seconds'],
  hits: [
    'vllm:prefix_cache_hits_total',
    'pagedbench:prefix_cache_hits_total',
    'vllm:prefix_cache_hits',
    'pagedbench:prefix_cache_hits',
  ],
  queries: [
    'vllm:prefix_cache_queries_total',
    'pagedbench:prefix_cache_queries_total',
    'vllm:prefix_cache_queries',
    'pagedbench:prefix_cache_queries',
  ],
} as const

/** Differences of two scrapes of /metrics: where TTFT went on servers that have no per-request trace. */
export function serverSplit(before: string, after: string): ServerSplit {
  const mean = (names: readonly string[]) => {
    for (const name of names) {
      const [first, last] = [accumulated(before, name), accumulated(after, name)]
      if (last !== null && last.count > (first?.count ?? 0)) {
        return ((last.sum - (first?.sum ?? 0)) / (last.count - (first?.count ?? 0))) * 1000
      }
    }
    return null
  }
  const gain = (names: readonly string[]) => {
    for (const name of names) {
      const last = total(after, name)
      if (last !== null) return last - (total(before, name) ?? 0)
    }
    return null
  }
  const queries = gain(NAMES.queries)
  const hits = gain(NAMES.hits)
  return {
    queueMs: mean(NAMES.queue),
    prefillMs: mean(NAMES.prefill),
    ttftMs: mean(NAMES.ttft),
    prefixHitShare: hits === null || queries === null || queries <= 0 ? null : hits / queries,
  }
}

function accumulated(text: string, name: string): Accumulated | null {
  const sum = total(text, `${name}_sum`)
  const count = total(text, `${name}_count`)
  return sum === null || count === null ? null : { sum, count }
}

/** Sum of all samples of a metric in the text exposition format (Prometheus 0.0.4); null when it is absent. */
function total(text: string, name: string): number | null {
  let sum: number | null = null
  for (const line of text.split('\n')) {
    if (!line.startsWith(name)) continue
    const next = line[name.length]
    if (next !== '{' && next !== ' ') continue
    const value = Number(
      line
        .slice(next === '{' ? line.lastIndexOf('}') + 1 : name.length)
        .trim()
        .split(/\s+/)[0],
    )
    if (Number.isFinite(value)) sum = (sum ?? 0) + value
  }
  return sum
}
