/** One reading of a server's own GET /metrics: one line of a block's server-metrics.jsonl, the text as it came. */
export interface ServerScrape {
  when: 'before' | 'after'
  url: string
  /** CLOCK_MONOTONIC before the request and after its last byte. */
  tNs: number
  tEndNs: number
  httpStatus: number | null
  /** Null: no text came; `reason` says why. */
  text: string | null
  reason: string | null
}

/**
 * What an external server's own counters say of one block: differences of two readings of GET /metrics, before its first request was sent and
 * after its last one ended. So warm-up is included, and whatever other clients asked meanwhile. Means only: a counter keeps no request apart.
 */
export interface ServerSplit {
  /** Whose metric names were found; null: none that is known, `why` says more. */
  server: string | null
  url: string
  parts: ServerPart[]
  /** Mean of first token - due time of the same requests as this client saw them, and what of it queue and prefill leave; ms. */
  clientTtftMs: number | null
  restMs: number | null
  /** Prompt tokens found in the prefix cache / looked up. */
  prefixHitShare: number | null
  count: ServerCount | null
  /** What these counters cannot tell, a sentence each. */
  cannotSay: string[]
  why: string | null
}

export type ServerPartName = 'queue' | 'prefill' | 'inference' | 'decode' | 'ttft'

export interface ServerPart {
  part: ServerPartName
  meanMs: number
  /** Requests the mean is over. */
  n: number
  /** The metric it was read from. */
  metric: string
}

/** The server's own count between the readings beside ours: more than we sent is someone else's load. */
export interface ServerCount {
  metric: string
  unit: 'requests' | 'output tokens'
  server: number
  /** Ours that ended well, and ours that were sent at all. */
  least: number
  most: number
  warmupRequests: number
  measuredRequests: number
  verdict: 'agrees' | 'other clients' | 'counts fewer'
}

/** Requests/s of whole, non-streamed answers of one token (autocannon): what a server and this machine can pass at all. */
export interface StoredCeiling {
  /** A target's name; null: the client's null server, which does nothing. */
  target: string | null
  connections: number
  durationSecs: number
  requests: number
  requestsPerSecond: number
  latencyP50Ms: number
  latencyP99Ms: number
  failures: number
}
