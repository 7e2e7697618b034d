import type { ServerPartName } from '../result/server-view.js'

/** Where a server's /metrics says what. Histograms and summaries by their base name: `_sum` is in seconds, `_count` in requests. */
export interface Dialect {
  server: string
  /** All its names start with this. */
  prefix: string
  parts: Partial<Record<ServerPartName, { name: string; labels?: Record<string, string> }>>
  /** Plain counters of seconds without a count of requests of their own: divided by ours. */
  seconds?: Partial<Record<ServerPartName, string>>
  count: { name: string; unit: 'requests' | 'output tokens' } | null
  /** Counters of prompt tokens: found in the prefix cache, and looked up there. */
  cache: { hits: string[]; queries: string[] } | null
  cannotSay: string[]
}

const PERCENTILES =
  'Only means: buckets are too coarse for percentiles, and a request cannot be followed through the phases.'

/** vLLM's names and those of our own server, which are vLLM's with another prefix. */
function vllmLike(server: string, prefix: string): Dialect {
  return {
    server,
    prefix,
    parts: {
      queue: { name: `${prefix}request_queue_time_seconds` },
      prefill: { name: `${prefix}request_prefill_time_seconds` },
      decode: { name: `${prefix}request_decode_time_seconds` },
      ttft: { name: `${prefix}time_to_first_token_seconds` },
    },
    count: { name: `${prefix}time_to_first_token_seconds_count`, unit: 'requests' },
    cache: {
      hits: [`${prefix}prefix_cache_hits_total`, `${prefix}prefix_cache_hits`],
      queries: [`${prefix}prefix_cache_queries_total`, `${prefix}prefix_cache_queries`],
    },
    cannotSay: [PERCENTILES],
  }
}

/** Names as these servers print them; sources: each server's documentation of its metrics. */
export const DIALECTS: readonly Dialect[] = [
  vllmLike('vLLM', 'vllm:'),
  vllmLike('pagedbench', 'pagedbench:'),
  {
    server: 'SGLang',
    prefix: 'sglang:',
    parts: {
      queue: { name: 'sglang:queue_time_seconds' },
      prefill: { name: 'sglang:per_stage_req_latency_seconds', labels: { stage: 'prefill_forward' } },
      ttft: { name: 'sglang:time_to_first_token_seconds' },
    },
    count: { name: 'sglang:time_to_first_token_seconds_count', unit: 'requests' },
    cache: { hits: ['sglang:cached_tokens_total'], queries: ['sglang:prompt_tokens_total'] },
    cannotSay: [
      PERCENTILES,
      'Prefill is the stage prefill_forward alone; each tensor-parallel rank counts its own, so its mean is over ranks too.',
    ],
  },
  {
    server: 'TGI',
    prefix: 'tgi_',
    parts: { queue: { name: 'tgi_request_queue_duration' }, inference: { name: 'tgi_request_inference_duration' } },
    count: { name: 'tgi_request_inference_duration_count', unit: 'requests' },
    cache: null,
    cannotSay: [
      PERCENTILES,
      'Inference is prefill and decode together: TGI tells them apart per batch only (tgi_batch_inference_duration), not per request.',
    ],
  },
  {
    server: 'llama.cpp',
    prefix: 'llamacpp:',
    parts: {},
    seconds: { prefill: 'llamacpp:prompt_seconds_total', decode: 'llamacpp:tokens_predicted_seconds_total' },
    count: { name: 'llamacpp:tokens_predicted_total', unit: 'output tokens' },
    cache: null,
    cannotSay: [
      'Plain counters without a count of requests: the seconds are divided by the requests of this client.',
      'It counts no queue: time a request waited for a slot is inside the rest.',
      'Slots share a batch, so the seconds of several requests overlap; they are not time on the device.',
    ],
  },
]
