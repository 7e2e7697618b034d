import type { Calibration, ValidityReason } from '../result/schema.js'

/**
 * When a block's numbers count. Each rule is a function of plain facts that returns its evidence or nothing; the limits are those of
 * reference/load-and-metrics section 12 (after MLPerf LoadGen, aiperf's locked scenarios and our own). test/statistics/validity.test.ts
 * turns every rule red.
 */
export interface BlockFacts {
  /** Window of the measurement, s, and the least the scenario asks for. */
  windowSecs: number
  minWindowSecs: number
  /** Why the block did not run to its end; null: it did. */
  interrupted: string | null
  /** Why the harness itself ended the load early, as asked: requests in flight kept growing. Null: it did not. */
  stoppedEarly: string | null
  /** Change across the window, and of what; null: no trend that is sure. */
  trendPercent: number | null
  trendOf: 'throughput' | 'TTFT' | null
  inFlightGrowing: boolean
  requestsOk: number
  requestsFailed: number
  allowedErrorShare: number
  /** Headline percentiles without enough samples: 'ttft p99 needs 662, has 96'; and the -n with which all of them would have enough. */
  missingPercentiles: readonly string[]
  requestsNeeded: number | null
  /** Planned requests that the time limit of the measured phase cut off. */
  requestsNotSent: number
  openLoop: boolean
  askedRps: number | null
  achievedRps: number | null
  droppedArrivals: number
  dropsDeclared: boolean
  /** Under enforced lengths: answers of another length than planned, and answers of the right length that ended with finish_reason stop. */
  wrongLengths: number
  stops: number
  enforcedLengths: boolean
  tokenMismatchRate: number | null
  tokenSource: string
  /** False for a block that another client measured (bench import). */
  ownClient: boolean
  /** Client: worst worker. */
  scheduleLagP99Ms: number | null
  eventLoopDelayP99Ms: number | null
  eventLoopUtilization: number | null
  ttftP50Ms: number | null
  itlP50Ms: number | null
  /** What the client itself adds; null: not measured. */
  calibration: Calibration | null
  cachePolicy: 'cold' | 'shared' | 'warm' | 'as-is'
  /** Cached share of prompt tokens: seen, and expected by the policy (null: not knowable). */
  cachedShare: number | null
  expectedCachedShare: number | null
  /** What probe pairs say against the policy, and why it could not be verified; null: nothing. */
  cacheContradiction: string | null
  cacheUnknown: string | null
  throttleReasons: readonly string[]
  otherGpuProcesses: number | null
  contextOverflows: number
  /** Share of the measured phase that GPU telemetry covers; null: none here. */
  telemetryCoverage: number | null
  engineIntegrity: string | null
}

type Rule = (facts: BlockFacts) => ValidityReason | null

/** Share of a measured median that the client may add. */
const MAX_CLIENT_SHARE = 0.05

export const RULES: Record<string, Rule> = {
  interrupted: (facts) =>
    facts.interrupted === null
      ? null
      : invalid('interrupted', facts.interrupted, 'run again to the end; what was recorded is kept and marked partial'),

  // Stopped as asked: the growth is the finding, and neither the short window nor the missing samples are a reason of their own.
  overload: (facts) =>
    facts.stoppedEarly === null
      ? null
      : noSteadyState('overload', facts.stoppedEarly, 'lower the rate; the load was stopped early as asked'),

  duration: (facts) =>
    facts.windowSecs >= facts.minWindowSecs || facts.stoppedEarly !== null
      ? null
      : invalid(
          'duration',
          `the window lasts ${facts.windowSecs.toFixed(1)} s, the scenario asks for ${facts.minWindowSecs} s`,
          'raise load.min_requests or the duration',
        ),

  samples: (facts) => {
    if (facts.stoppedEarly !== null) return null
    if (facts.requestsOk === 0) return invalid('samples', 'no request succeeded', 'see the errors by outcome')
    if (facts.missingPercentiles.length === 0) return null
    const count = facts.requestsNeeded === null ? 'more requests' : `-n ${facts.requestsNeeded}`
    const time =
      facts.requestsNotSent === 0
        ? ''
        : ` and more time (--duration): ${facts.requestsNotSent} planned requests were cut off by it`
    return invalid(
      'samples',
      facts.missingPercentiles.join('; '),
      `run with ${count} (load.min_requests)${time}; or gate a lower percentile`,
    )
  },

  errors: (facts) => {
    const attempted = facts.requestsOk + facts.requestsFailed
    const share = attempted === 0 ? 0 : facts.requestsFailed / attempted
    return share <= facts.allowedErrorShare
      ? null
      : invalid(
          'errors',
          `${facts.requestsFailed} of ${attempted} requests failed (${percent(share)}, allowed ${percent(facts.allowedErrorShare)})`,
          'see the errors by outcome; lower the load or fix the server',
        )
  },

  load: (facts) => {
    const dropped = `${facts.droppedArrivals} arrivals were dropped at the cap`
    if (facts.droppedArrivals > 0 && !facts.dropsDeclared)
      return invalid(
        'load',
        dropped,
        'raise load.cap, lower the rate, or declare them: drops: allowed (--drops allowed)',
      )
    const difference =
      facts.openLoop && facts.askedRps !== null && facts.achievedRps !== null
        ? Math.abs(facts.achievedRps / facts.askedRps - 1)
        : 0
    if (difference > 0.02)
      return invalid(
        'load',
        `offered ${facts.achievedRps!.toFixed(2)} requests/s, planned ${facts.askedRps!.toFixed(2)}`,
        'the client could not keep up: add load workers or lower the rate',
      )
    return facts.droppedArrivals === 0
      ? null
      : note('load', `${dropped}, as declared (drops: allowed)`, 'they count as bad in SLO attainment; read it beside')
  },

  output_length: (facts) => {
    if (!facts.enforcedLengths || facts.wrongLengths + facts.stops === 0) return null
    const evidence = [
      ...(facts.wrongLengths === 0 ? [] : [`${facts.wrongLengths} requests ended at another length than planned`]),
      ...(facts.stops === 0 ? [] : [`${facts.stops} ended with finish_reason stop`]),
    ]
    return invalid(
      'output_length',
      `${evidence.join(', ')} although lengths are enforced`,
      'the server ignored ignore_eos or max_tokens: use output.enforce: none, or a server that honours them',
    )
  },

  tokens: (facts) =>
    facts.tokenMismatchRate === null || facts.tokenMismatchRate <= 0.01
      ? null
      : invalid(
          'tokens',
          `token counts of ${facts.tokenSource} and the next source differ in ${percent(facts.tokenMismatchRate)} of requests`,
          'check usage.completion_tokens of the server; use --token-source',
        ),

  client: (facts) => {
    if (!facts.ownClient) return null
    const overload = clientOverload(facts)
    const added = clientAdds(facts)
    const missing = facts.calibration === null ? ['what the client itself adds was not measured (no calibration)'] : []
    const evidence = [...overload, ...added, ...missing]
    if (evidence.length === 0) return null
    const fix =
      overload.length + added.length === 0
        ? 'leave out --no-calibrate; bench calibrate keeps its result for later runs of this machine'
        : 'the client is part of the figure: use more --load-workers, or another machine for the client'
    return invalid('client', evidence.join('; '), fix)
  },

  cache: (facts) => {
    const { cachePolicy: policy, cachedShare: seen, expectedCachedShare: expected } = facts
    if (policy === 'as-is') return null
    const fix = 'restart the server between runs, or declare cache: as-is'
    if (facts.cacheContradiction !== null) return invalid('cache', `policy ${policy}: ${facts.cacheContradiction}`, fix)
    if (seen !== null && expected !== null) {
      const slack = policy === 'cold' ? 0.01 : 0.1
      return Math.abs(seen - expected) <= slack
        ? null
        : invalid(
            'cache',
            `policy ${policy}: ${percent(seen)} of prompt tokens came from the prefix cache, expected ${percent(expected)}`,
            fix,
          )
    }
    return facts.cacheUnknown === null
      ? null
      : note(
          'cache',
          `policy ${policy} is not verified: ${facts.cacheUnknown}`,
          'use a server that reports cached tokens, or its /metrics',
        )
  },

  gpu: (facts) => {
    const evidence: string[] = []
    if (facts.throttleReasons.length > 0) evidence.push(`clocks were throttled: ${facts.throttleReasons.join(', ')}`)
    if (facts.otherGpuProcesses !== null && facts.otherGpuProcesses > 0)
      evidence.push(`${facts.otherGpuProcesses} other process(es) on the GPU`)
    return evidence.length === 0
      ? null
      : invalid('gpu', evidence.join('; '), 'free the card, check cooling and the power limit, then run again')
  },

  context: (facts) => {
    const attempted = facts.requestsOk + facts.requestsFailed
    return facts.contextOverflows <= 0.01 * attempted
      ? null
      : invalid(
          'context',
          `${facts.contextOverflows} requests did not fit the context`,
          'lower input/output lengths or raise --max-model-len',
        )
  },

  coverage: (facts) =>
    facts.telemetryCoverage === null || facts.telemetryCoverage >= 0.95
      ? null
      : invalid(
          'coverage',
          `GPU telemetry covers ${percent(facts.telemetryCoverage)} of the window`,
          'the sampler was starved, so throttling may have gone unseen: leave it a core',
        ),

  integrity: (facts) =>
    facts.engineIntegrity === null || facts.engineIntegrity === ''
      ? null
      : invalid(
          'integrity',
          `the engine's own check failed: ${facts.engineIntegrity}`,
          'this is a bug of the engine: please report it with the step trace',
        ),

  steady: (facts) => {
    if (facts.stoppedEarly !== null) return null
    if (facts.inFlightGrowing)
      return noSteadyState(
        'steady',
        'requests in flight kept growing: the server is past its capacity',
        'lower the rate',
      )
    return facts.trendPercent === null || Math.abs(facts.trendPercent) <= 5
      ? null
      : noSteadyState(
          'steady',
          `${facts.trendOf ?? 'throughput'} still moved by ${facts.trendPercent.toFixed(1)} % across the window`,
          'run longer (load.min_requests) or lengthen the warm-up',
        )
  },
}

function clientOverload(facts: BlockFacts): string[] {
  const evidence: string[] = []
  const { scheduleLagP99Ms: lag, ttftP50Ms: ttft, eventLoopDelayP99Ms: delay, itlP50Ms: itl } = facts
  if (facts.openLoop && lag !== null && (lag > 10 || (ttft !== null && lag > 0.05 * ttft && lag > 1)))
    evidence.push(`requests left ${lag.toFixed(1)} ms late (p99)`)
  if (delay !== null && itl !== null && delay > 0.5 * itl && delay > 2)
    evidence.push(`event-loop delay p99 ${delay.toFixed(1)} ms against an ITL p50 of ${itl.toFixed(1)} ms`)
  if (facts.eventLoopUtilization !== null && facts.eventLoopUtilization > 0.8)
    evidence.push(`event-loop utilisation ${percent(facts.eventLoopUtilization)}`)
  return evidence
}

/** What calibration found, where it is more than its share of what was measured. */
function clientAdds(facts: BlockFacts): string[] {
  const { calibration, ttftP50Ms, itlP50Ms } = facts
  if (calibration === null) return []
  const pairs = [
    { name: 'TTFT', added: calibration.ttftAddedMsP50, measured: ttftP50Ms },
    { name: 'ITL', added: calibration.itlAddedMsP50, measured: itlP50Ms },
  ]
  return pairs.flatMap(({ name, added, measured }) =>
    measured === null || added <= MAX_CLIENT_SHARE * measured
      ? []
      : [
          `the client adds ${added.toFixed(2)} ms (p50, calibrated) to a ${name} p50 of ${measured.toFixed(2)} ms, more than ${percent(MAX_CLIENT_SHARE)}`,
        ],
  )
}

export function invalid(code: string, evidence: string, fix: string): ValidityReason {
  return { code, severity: 'invalid', evidence, fix }
}
export function note(code: string, evidence: string, fix: string): ValidityReason {
  return { code, severity: 'note', evidence, fix }
}
function noSteadyState(code: string, evidence: string, fix: string): ValidityReason {
  return { code, severity: 'no-steady-state', evidence, fix }
}
export function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`
}
