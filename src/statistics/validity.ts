import type { ValidityReason, Verdict } from '../result/schema.js'

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
  /** How the window was found; 'trend' when throughput still moved by more than the floor of 5 %. */
  trendPercent: number | null
  inFlightGrowing: boolean
  requestsOk: number
  requestsFailed: number
  allowedErrorShare: number
  /** Headline percentiles without enough samples: 'ttft p99 needs 662, has 96'. */
  missingPercentiles: readonly string[]
  openLoop: boolean
  askedRps: number | null
  achievedRps: number | null
  droppedArrivals: number
  dropsDeclared: boolean
  /** Requests whose output differs from the planned length although lengths were enforced. */
  wrongLengths: number
  enforcedLengths: boolean
  tokenMismatchRate: number | null
  tokenSource: string
  /** Client: worst worker. */
  scheduleLagP99Ms: number | null
  eventLoopDelayP99Ms: number | null
  eventLoopUtilization: number | null
  ttftP50Ms: number | null
  itlP50Ms: number | null
  calibrated: boolean
  cachePolicy: 'cold' | 'shared' | 'warm' | 'as-is'
  /** Cached share of prompt tokens: seen, and expected by the policy (null: not knowable). */
  cachedShare: number | null
  expectedCachedShare: number | null
  throttleReasons: readonly string[]
  otherGpuProcesses: number | null
  contextOverflows: number
  /** Share of the measured phase that telemetry covers; null: no telemetry. */
  telemetryCoverage: number | null
  engineIntegrity: string | null
}

type Rule = (facts: BlockFacts) => ValidityReason | null

export const RULES: Record<string, Rule> = {
  interrupted: (facts) =>
    facts.interrupted === null
      ? null
      : invalid('interrupted', facts.interrupted, 'run again to the end; what was recorded is kept and marked partial'),

  duration: (facts) =>
    facts.windowSecs >= facts.minWindowSecs
      ? null
      : invalid(
          'duration',
          `the window lasts ${facts.windowSecs.toFixed(1)} s, the scenario asks for ${facts.minWindowSecs} s`,
          'raise load.min_requests or the duration',
        ),

  samples: (facts) =>
    facts.requestsOk === 0
      ? invalid('samples', 'no request succeeded', 'see the errors by outcome')
      : facts.missingPercentiles.length === 0
        ? null
        : invalid(
            'samples',
            facts.missingPercentiles.join('; '),
            'raise load.min_requests, or gate a lower percentile',
          ),

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
    if (facts.droppedArrivals > 0 && !facts.dropsDeclared)
      return invalid(
        'load',
        `${facts.droppedArrivals} arrivals were dropped at the cap`,
        'raise load.cap or lower the rate',
      )
    if (!facts.openLoop || facts.askedRps === null || facts.achievedRps === null) return null
    const difference = Math.abs(facts.achievedRps / facts.askedRps - 1)
    return difference <= 0.02
      ? null
      : invalid(
          'load',
          `sent ${facts.achievedRps.toFixed(2)} requests/s, planned ${facts.askedRps.toFixed(2)}`,
          'the client could not keep up: add load workers or lower the rate',
        )
  },

  output_length: (facts) =>
    !facts.enforcedLengths || facts.wrongLengths === 0
      ? null
      : invalid(
          'output_length',
          `${facts.wrongLengths} requests ended at another length than planned although lengths are enforced`,
          'the server ignored ignore_eos or max_tokens: use output.enforce: none, or a server that honours them',
        ),

  tokens: (facts) =>
    facts.tokenMismatchRate === null || facts.tokenMismatchRate <= 0.01
      ? null
      : invalid(
          'tokens',
          `token counts of ${facts.tokenSource} and the next source differ in ${percent(facts.tokenMismatchRate)} of requests`,
          'check usage.completion_tokens of the server; use --token-source',
        ),

  client: (facts) => {
    const evidence: string[] = []
    const { scheduleLagP99Ms: lag, ttftP50Ms: ttft, eventLoopDelayP99Ms: delay, itlP50Ms: itl } = facts
    if (facts.openLoop && lag !== null && (lag > 10 || (ttft !== null && lag > 0.05 * ttft && lag > 1)))
      evidence.push(`requests left ${lag.toFixed(1)} ms late (p99)`)
    if (delay !== null && itl !== null && delay > 0.5 * itl && delay > 2)
      evidence.push(`event-loop delay p99 ${delay.toFixed(1)} ms against an ITL p50 of ${itl.toFixed(1)} ms`)
    if (facts.eventLoopUtilization !== null && facts.eventLoopUtilization > 0.8)
      evidence.push(`event-loop utilisation ${percent(facts.eventLoopUtilization)}`)
    return evidence.length === 0
      ? null
      : invalid(
          'client',
          evidence.join('; '),
          'the client is part of the figure: use more --load-workers, or another machine for the client',
        )
  },

  calibration: (facts) =>
    facts.calibrated
      ? null
      : note(
          'calibration',
          'what the client itself adds was not measured in this run',
          'run `bench calibrate`, or add --calibrate',
        ),

  cache: (facts) => {
    if (facts.cachePolicy === 'as-is' || facts.cachedShare === null || facts.expectedCachedShare === null) return null
    const slack = facts.cachePolicy === 'cold' ? 0.01 : 0.1
    return Math.abs(facts.cachedShare - facts.expectedCachedShare) <= slack
      ? null
      : invalid(
          'cache',
          `policy ${facts.cachePolicy}: ${percent(facts.cachedShare)} of prompt tokens came from the prefix cache, expected ${percent(facts.expectedCachedShare)}`,
          'restart the server between runs, or declare cache: as-is',
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
      : unverified(
          'coverage',
          `telemetry covers ${percent(facts.telemetryCoverage)} of the window`,
          'the sampler was starved; leave it a core',
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
          `throughput still moved by ${facts.trendPercent.toFixed(1)} % across the window`,
          'run longer (load.min_requests) or lengthen the warm-up',
        )
  },
}

/** The verdict of one block: every rule applied, in the order of the table. */
export function judgeBlock(facts: BlockFacts): Verdict {
  return combine(Object.values(RULES).flatMap((rule) => rule(facts) ?? []))
}

/** Rules over a whole run: unequal work or unequal answers make a comparison worthless. */
export interface RunFacts {
  /** Output tokens per target, of the blocks compared. */
  outputTokens: readonly { target: string; tokens: number }[]
  /** Share of greedy answers that differ, and whether the engines promise equality (CPU, or --deterministic). */
  answersDiffer: { base: string; head: string; share: number; promised: boolean } | null
  unequalWeights: boolean
  gitDirty: boolean | null
}

export function judgeRun(facts: RunFacts, blocks: readonly Verdict[]): Verdict {
  const reasons: ValidityReason[] = blocks.flatMap((verdict) => verdict.reasons)
  const counts = facts.outputTokens.map((entry) => entry.tokens)
  if (counts.length > 1 && Math.max(...counts) > 1.01 * Math.min(...counts)) {
    const work = facts.outputTokens.map((entry) => `${entry.target} ${entry.tokens}`).join(', ')
    reasons.push(
      invalid(
        'work',
        `targets produced unequal output tokens: ${work}`,
        'enforce lengths (ignore_eos) so that every target does the same work',
      ),
    )
  }
  if (facts.answersDiffer !== null && facts.answersDiffer.share > 0) {
    const { base, head, share, promised } = facts.answersDiffer
    const evidence = `${percent(share)} of greedy answers of ${head} differ from ${base}`
    reasons.push(
      promised
        ? invalid('answers', evidence, 'a faster engine with different answers does not count: this is a bug')
        : note(
            'answers',
            evidence,
            'expected where two logits are closer than bf16 rounding; --deterministic makes them equal',
          ),
    )
  }
  if (facts.unequalWeights)
    reasons.push(invalid('weights', 'targets do not run the same weights or dtype', 'compare engines on one model'))
  return combine(deduplicate(reasons))
}

export function combine(reasons: readonly ValidityReason[]): Verdict {
  const has = (severity: ValidityReason['severity']) => reasons.some((reason) => reason.severity === severity)
  const validity = has('invalid')
    ? 'INVALID'
    : has('no-steady-state')
      ? 'NO-STEADY-STATE'
      : has('unverified')
        ? 'UNVERIFIED'
        : 'VALID'
  return { validity, reasons: [...reasons] }
}

function deduplicate(reasons: readonly ValidityReason[]): ValidityReason[] {
  return [...new Map(reasons.map((reason) => [`${reason.code} ${reason.evidence}`, reason])).values()]
}

function invalid(code: string, evidence: string, fix: string): ValidityReason {
  return { code, severity: 'invalid', evidence, fix }
}
function unverified(code: string, evidence: string, fix: string): ValidityReason {
  return { code, severity: 'unverified', evidence, fix }
}
function noSteadyState(code: string, evidence: string, fix: string): ValidityReason {
  return { code, severity: 'no-steady-state', evidence, fix }
}
function note(code: string, evidence: string, fix: string): ValidityReason {
  return { code, severity: 'note', evidence, fix }
}
function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`
}
