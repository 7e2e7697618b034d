import type { GatePolicy } from './compare.js'

/**
 * What is compared, and what gates (reference/reports-and-statistics section 1.5): margin 5 % for means and medians, 10 % for tails;
 * TTFT changes under 5 ms and ITL changes under 0.5 ms never gate. Everything else is information.
 */
export const POLICIES = {
  outputTokensPerSecond: policy('output tok/s', 'tok/s', false, 5, 0, 'fail'),
  requestsPerSecond: policy('requests/s', 'req/s', false, 5, 0, 'info'),
  ttftP50Ms: policy('TTFT p50', 'ms', true, 5, 5, 'fail'),
  ttftP95Ms: policy('TTFT p95', 'ms', true, 10, 5, 'info'),
  itlMeanMs: policy('ITL mean', 'ms', true, 5, 0.5, 'fail'),
  itlP95Ms: policy('ITL p95', 'ms', true, 10, 0.5, 'info'),
  tpotP50Ms: policy('TPOT p50', 'ms', true, 5, 0.5, 'fail'),
  e2eP50Ms: policy('e2e p50', 'ms', true, 5, 5, 'info'),
  joulesPerOutputToken: policy('J per output token', 'J', true, 5, 0, 'info'),
  paddedShare: policy('padding share', '', true, 5, 0.01, 'info'),
} as const satisfies Record<string, GatePolicy>

export type ComparedMetric = keyof typeof POLICIES

/** The metrics that decide an exit code, by their label. */
export const GATED: ReadonlySet<string> = new Set(
  Object.values(POLICIES)
    .filter((entry) => entry.gate === 'fail')
    .map((entry) => entry.metric),
)

function policy(
  metric: string,
  unit: string,
  lowerIsBetter: boolean,
  marginPercent: number,
  floor: number,
  gate: GatePolicy['gate'],
): GatePolicy {
  return { metric, unit, lowerIsBetter, marginPercent, floor, gate }
}
