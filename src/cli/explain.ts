import { Failure, nearest } from '../failure.js'

/** Every metric as it is computed here, in one line each; the report prints the same definitions. */
export const DEFINITIONS: Record<string, string> = {
  ttft: 'time to first token: first frame with a generated token - request sent (clock read before the send). Role-only, empty, usage and ping frames do not count.',
  'ttft-intended':
    'first token - the instant the request was due: the headline in open loop, so that a stalled client or server cannot hide queueing (wrk2, "coordinated omission").',
  itl: 'inter-token latency: a gap g before a socket read that delivers k tokens gives k values of g/k, pooled over tokens.',
  tpot: 'time per output token of one request: (last token - first token) / (N - tokens of the first read); undefined, not 0, when there is none.',
  e2e: 'end-to-end latency: last token - request sent.',
  throughput:
    'output tokens that arrive inside the window / length of the window. The window ends at the last instant at which the asked load was fully offered, so the drain is outside.',
  goodput: 'requests that meet every objective of the SLO / seconds of the window; judged per request.',
  percentiles:
    'nearest rank on raw samples. A percentile under its sample floor (p99: 662, p90: 64, p50: 11; binomial, 99 % confidence) prints a dash.',
  'share-of-limit':
    'achieved tokens/s / (what the measured read bandwidth or GEMM rate would allow for the bytes and FLOPs of the same steps).',
  padding: 'share of computed tokens that were padding or belonged to sequences already finished (static batching).',
  validity:
    'VALID, INVALID, NO-STEADY-STATE or UNVERIFIED, by rules in code: samples, errors, achieved load, output lengths, token counts, client health, cache state, GPU state, steadiness, equal work, equal answers.',
  interval:
    'the run (block) is the unit; t interval on logs of per-block values, paired when blocks alternate (ABBA). 90 %.',
}

export function explainCommand(term: string | undefined): void {
  if (term === undefined) {
    for (const [name, text] of Object.entries(DEFINITIONS)) process.stdout.write(`${name}\n    ${text}\n`)
    return
  }
  const text = DEFINITIONS[term.toLowerCase()]
  if (text === undefined) {
    const guess = nearest(term, Object.keys(DEFINITIONS))
    throw new Failure(
      'usage',
      `no definition of '${term}'`,
      guess ? `did you mean '${guess}'?` : `known: ${Object.keys(DEFINITIONS).join(', ')}`,
    )
  }
  process.stdout.write(`${term.toLowerCase()}: ${text}\n`)
}
