/** What one printed metric means here. `term`: how `bench explain` is asked for it; `name`: how the report prints it. */
export interface Definition {
  term: string
  name: string
  meaning: string
}

/** Every metric as it is computed here, once: the report's last section and `bench explain` print these. */
export const DEFINITIONS: readonly Definition[] = [
  {
    term: 'ttft',
    name: 'TTFT',
    meaning:
      'time to first token: first frame with a generated token, less the instant before the request was handed to the socket. Frames with only a role, usage, a ping or nothing do not count.',
  },
  {
    term: 'ttft-intended',
    name: 'TTFT from due time',
    meaning:
      'first token, less the instant the request was due: the headline in open loop, so that a stalled client or server cannot hide queueing (wrk2, “coordinated omission”).',
  },
  {
    term: 'ttft-phases',
    name: 'phases of TTFT',
    meaning:
      'from due time to first token: client late (due to sent), send (to the engine’s arrival stamp), queue (to first scheduled), prefill (to the engine’s first token), flush and receive (to the client’s). Our engines: per request, by request id, on one monotonic clock. Other servers: means of their own /metrics between a reading before the block’s first request and one after its last answer.',
  },
  {
    term: 'client',
    name: 'what the client adds',
    meaning:
      'the client’s reading less what a server that only writes a programmed schedule wrote down, both on one clock, at the run’s number of streams. It is inside TTFT and ITL, not subtracted.',
  },
  {
    term: 'itl',
    name: 'ITL',
    meaning:
      'inter-token latency: the gap before a socket read that delivered k tokens counts as k gaps of a k-th each; pooled over tokens.',
  },
  {
    term: 'tpot',
    name: 'TPOT',
    meaning:
      'time per output token, per request: (last token − first token) / (tokens − tokens of the first read); a request without a second read has none, not 0.',
  },
  {
    term: 'e2e',
    name: 'e2e',
    meaning:
      'last token − send. In open loop the intended send time counts, so that a late client cannot hide waiting.',
  },
  {
    term: 'throughput',
    name: 'output tok/s',
    meaning:
      'tokens that arrived in the steady window / its length. The window ends at the last instant at which the asked load was still fully offered: the drain is outside.',
  },
  {
    term: 'goodput',
    name: 'goodput',
    meaning:
      'requests that met every objective, per second of the window, judged per request; a failed or dropped request is attempted and bad.',
  },
  {
    term: 'percentiles',
    name: 'percentiles',
    meaning:
      'nearest rank on raw samples. Under its sample floor (99% confidence: p50 11, p90 64, p95 130, p99 662 requests) a percentile is not printed.',
  },
  {
    term: 'interval',
    name: 'interval',
    meaning:
      '90%, Student’s t on logs of block values, paired by repeat where both sides have the same repeats. The block is the unit; requests of one block are not independent.',
  },
  {
    term: 'share-of-limit',
    name: 'share of the limit',
    meaning:
      'achieved tokens/s / what the measured read bandwidth or matrix-product rate would allow for the bytes and operations of the same steps.',
  },
  {
    term: 'request-ceiling',
    name: 'request ceiling',
    meaning:
      'whole, non-streamed completions of one token per second, sent by autocannon as fast as they are answered: of a server that does nothing (the client’s own limit here) and of each target, with --request-ceiling.',
  },
  {
    term: 'padding',
    name: 'padding share',
    meaning:
      'tokens computed for left padding and for rows already finished / all tokens computed, from the engine’s step trace.',
  },
  {
    term: 'engine-time',
    name: 'engine’s own time',
    meaning:
      'of each step: planning (schedule), the FFI calls that enqueue it (launch), waiting for the device (wait), taking its tokens (commit); from the engine’s step trace.',
  },
  {
    term: 'utilization',
    name: 'utilization.gpu',
    meaning:
      'share of time in which any kernel ran. It says nothing of how full the GPU was; GPM does: SMs with a warp in flight, occupancy (warps of those the SMs could hold), tensor and DRAM activity.',
  },
  {
    term: 'validity',
    name: 'validity',
    meaning:
      'VALID, INVALID (exit code 3) or NO-STEADY-STATE, by rules in code: samples, errors, achieved load, output lengths, token counts, client health and calibration (what the client adds must stay under 5 % of the measured medians), cache state, GPU state and telemetry, steadiness, equal work, equal answers. docs/verdict.md has each rule with its limit.',
  },
]
