import { runLoad } from '../load/generator.js'
import type { LoadTarget } from '../load/options.js'
import { saltedPrompts } from '../load/salt.js'
import type { CacheProbe, PlanRow, RequestRecord } from '../result/schema.js'
import { makePlan, type PlanOptions, sealPlan } from '../scenario/plan.js'
import type { Scenario } from '../scenario/types.js'

export interface ProbeInput {
  target: LoadTarget
  /** How the run speaks to the target: prompts of ids or of text, sampling, enforcement. */
  scenario: Scenario
  planOptions: PlanOptions
  maxModelLen: number | null
  /** Not used before with this server: prompts and salts come from it. */
  salt: string
  signal?: AbortSignal
}

/** TTFTs of one pair, ms: a short prompt, a long one, the same long one again, and its content under another salt. */
export interface ProbePair {
  shortMs: number
  freshMs: number
  againMs: number
  resaltedMs: number
  /** Share of the prompt that the server says it had cached; null: it does not tell. */
  againCached: number | null
  resaltedCached: number | null
}

const SHORT_TOKENS = 16
const FIRST_LONG_TOKENS = 256
const MOST_LONG_TOKENS = 4096
/** A fresh prompt should take about this long: far above the noise of a median, and the probe still ends soon. */
const AIM_MS = 500
/** Five pairs; three where a single fresh prompt takes longer than SLOW_MS. */
const PAIRS = 5
const SLOW_PAIRS = 3
const SLOW_MS = 1000
/** Saved share of a prompt's own time: above, it came from a cache; below, it was computed. Between: open. */
const HIT = 0.6
const MISS = 0.3
/** A fresh prompt must take this much longer than a short one, or a hit could not be seen. */
const LEAST_CONTRAST = 1.4

/**
 * Does a server that says nothing of cached tokens keep a prefix cache, and does the salt of policy cold get past it? One request at a time:
 * a long prompt, the same bytes again, and the same content under another salt, each against a fresh long and a fresh short prompt.
 * Never throws for what the server does: then the answers are 'unknown', with the reason.
 */
export async function probeCache(input: ProbeInput): Promise<CacheProbe> {
  const sizing = await sendPairs(input, 2, FIRST_LONG_TOKENS, 'size')
  if (typeof sizing === 'string') return nothingKnown(FIRST_LONG_TOKENS, sizing)
  const short = Math.min(...sizing.map((pair) => pair.shortMs))
  const long = Math.min(...sizing.map((pair) => pair.freshMs))
  const tokens = longTokens(short, long, input.maxModelLen)
  const expectedMs = short + ((long - short) * tokens) / FIRST_LONG_TOKENS
  const pairs = await sendPairs(input, expectedMs > SLOW_MS ? SLOW_PAIRS : PAIRS, tokens, 'probe')
  return typeof pairs === 'string' ? nothingKnown(tokens, pairs) : judgePairs(pairs, tokens)
}

/** What pairs say, by medians; thresholds as above. By the server's own count where it gives one. */
export function judgePairs(pairs: readonly ProbePair[], promptTokens: number): CacheProbe {
  const of = (pick: (pair: ProbePair) => number) => median(pairs.map(pick))
  const saved = (pick: (pair: ProbePair) => number) =>
    of((pair) => (pair.freshMs - pick(pair)) / Math.max(1e-6, pair.freshMs - pair.shortMs))
  const shortMs = of((pair) => pair.shortMs)
  const freshMs = of((pair) => pair.freshMs)
  const probe = {
    ...{ promptTokens, pairs: pairs.length, shortMs, freshMs },
    againMs: of((pair) => pair.againMs),
    resaltedMs: of((pair) => pair.resaltedMs),
    hit: saved((pair) => pair.againMs),
    resaltedHit: saved((pair) => pair.resaltedMs),
  }
  const reported = pairs.filter((pair) => pair.againCached !== null)
  if (reported.length > 0) {
    const share = (pick: (pair: ProbePair) => number | null) => median(reported.map((pair) => pick(pair) ?? 0))
    return {
      ...probe,
      keepsCache: share((pair) => pair.againCached) >= 0.5 ? 'yes' : 'no',
      answersResalted: share((pair) => pair.resaltedCached) >= 0.5 ? 'yes' : 'no',
      reportsCachedTokens: true,
      why: null,
    }
  }
  if (freshMs < LEAST_CONTRAST * shortMs || freshMs - shortMs < 1)
    return {
      ...probe,
      keepsCache: 'unknown',
      answersResalted: 'unknown',
      reportsCachedTokens: false,
      why: `a fresh prompt of ${promptTokens} tokens takes ${freshMs.toFixed(1)} ms and one of ${SHORT_TOKENS} takes ${shortMs.toFixed(1)} ms: too close to see a hit`,
    }
  const keepsCache = classify(probe.hit)
  // What keeps nothing cannot answer from it; a slow request under another salt is noise then.
  const answersResalted = keepsCache === 'no' ? 'no' : classify(probe.resaltedHit)
  const open = keepsCache === 'unknown' ? probe.hit : answersResalted === 'unknown' ? probe.resaltedHit : null
  return {
    ...probe,
    keepsCache,
    answersResalted,
    reportsCachedTokens: false,
    why:
      open === null
        ? null
        : `the second sending saved ${(100 * open).toFixed(0)} % of the prompt's own time, between ${100 * MISS} and ${100 * HIT} %`,
  }
}

function classify(saved: number): 'yes' | 'no' | 'unknown' {
  return saved >= HIT ? 'yes' : saved <= MISS ? 'no' : 'unknown'
}

function longTokens(shortMs: number, longMs: number, maxModelLen: number | null): number {
  const most = Math.min(MOST_LONG_TOKENS, Math.floor((maxModelLen ?? 2 * MOST_LONG_TOKENS) / 2))
  const perTokenMs = (longMs - shortMs) / FIRST_LONG_TOKENS
  const aimed = perTokenMs <= 0 ? most : Math.ceil(AIM_MS / perTokenMs)
  return Math.min(most, Math.max(FIRST_LONG_TOKENS, aimed))
}

/** Sends `count` pairs, one request at a time, a single token each; the reason when one failed. */
async function sendPairs(
  input: ProbeInput,
  count: number,
  longTokens: number,
  name: string,
): Promise<ProbePair[] | string> {
  const tokens = Math.min(longTokens, Math.floor((input.maxModelLen ?? 2 * longTokens) / 2))
  const shape = (length: number) => probeScenario(input.scenario, length, count, `${input.salt}/${name}`)
  const scenario = shape(tokens)
  const long = (await makePlan(scenario, input.planOptions)).rows
  const short = (await makePlan(shape(SHORT_TOKENS), input.planOptions)).rows
  const salted = (salt: string) => saltedPrompts([...long, ...short], 'cold', `${input.salt}/${name}/${salt}`)
  const [first, other] = [salted('first'), salted('other')]
  const rows = long.flatMap((row, pair) => [
    withPrompt(short[pair]!, first(short[pair]!)),
    withPrompt(row, first(row)),
    withPrompt(row, first(row)),
    withPrompt(row, other(row)),
  ])
  const indexed = rows.map((row, index) => ({ ...row, index }))
  const plan = sealPlan(scenario, indexed, { askedRate: null, measureOffsetNs: 0 }, [])
  const failure = new AbortController()
  const { records } = await runLoad({
    ...{ plan, scenario, target: input.target, workers: 1, salt: `${input.salt}/${name}` },
    signal: AbortSignal.any([failure.signal, ...(input.signal ? [input.signal] : [])]),
    // A server that hangs is not asked again and again.
    onRecord: (record) => {
      if (record.outcome !== 'ok' && !failure.signal.aborted) failure.abort('an earlier probe request failed')
    },
  })
  const failed = records.find((record) => record.firstTokenNs === null || record.outcome !== 'ok')
  if (failed !== undefined) return `a probe request ended as ${failed.outcome}: ${failed.detail ?? 'no token'}`
  return Array.from({ length: count }, (_, pair) => pairOf(records.slice(4 * pair, 4 * pair + 4)))
}

function pairOf(records: readonly RequestRecord[]): ProbePair {
  const [short, fresh, again, resalted] = records as [RequestRecord, RequestRecord, RequestRecord, RequestRecord]
  const ttftMs = (record: RequestRecord) => (record.firstTokenNs! - record.sentNs!) / 1e6
  const cached = (record: RequestRecord) =>
    record.cachedTokens === null
      ? null
      : record.cachedTokens / Math.max(1, record.usagePromptTokens ?? record.inputTokens)
  return {
    shortMs: ttftMs(short),
    freshMs: ttftMs(fresh),
    againMs: ttftMs(again),
    resaltedMs: ttftMs(resalted),
    againCached: cached(again),
    resaltedCached: cached(resalted),
  }
}

function withPrompt(row: PlanRow, prompt: number[] | string): PlanRow {
  return typeof prompt === 'string' ? { ...row, prompt, promptIds: null } : { ...row, promptIds: prompt, prompt: null }
}

/** The run's scenario with prompts of one length, a token of answer, one at a time; its content of this probe alone. */
function probeScenario(scenario: Scenario, inputTokens: number, requests: number, seed: string): Scenario {
  const fixed = (value: number) => ({ dist: 'fixed' as const, value })
  return {
    ...scenario,
    workload: {
      ...scenario.workload,
      kind: 'synthetic',
      dataset: null,
      shapes: [{ weight: 1, input: fixed(inputTokens), output: fixed(1), prefix: null, conversation: null }],
    },
    load: {
      arrival: { kind: 'closed', concurrency: 1, thinkMs: null, staggerMs: 0 },
      ...{ requests, warmupRequests: 0, requestsPerUnit: null, warmupPerUnit: null, maxSecs: null },
      staggerAskedMs: null,
      stopWhenGrowing: false,
    },
    cache: 'as-is',
    seeds: { ...scenario.seeds, content: seedOf(seed) },
    timeouts: { ...scenario.timeouts, requestSecs: Math.min(60, scenario.timeouts.requestSecs) },
  }
}

/** FNV-1a, 32 bits (Fowler, Noll, Vo). */
function seedOf(text: string): number {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return hash
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

function nothingKnown(promptTokens: number, why: string): CacheProbe {
  return {
    ...{ promptTokens, pairs: 0, shortMs: null, freshMs: null, againMs: null, resaltedMs: null },
    ...{ hit: null, resaltedHit: null, keepsCache: 'unknown', answersResalted: 'unknown' },
    ...{ reportsCachedTokens: false, why },
  }
}
