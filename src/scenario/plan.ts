import { createHash } from 'node:crypto'
import type { Phase, PlanRow } from '../result/schema.js'
import { arrivalTimes, askedRate } from './arrivals.js'
import { planLine } from './plan-line.js'
import { safeIdRange, textMaker } from './prompts.js'
import { RandomStream } from './random.js'
import type { ContentMakers, SessionDraft } from './sessions.js'
import { type SessionSource, sessionSource } from './source.js'
import { staggerFirstWave } from './stagger.js'
import type { TextTokenizer } from './tokenizer.js'
import type { Scenario } from './types.js'

export const PLAN_SCHEMA = 'pagedbench/plan@1'

/** Every request of a run, in order of dispatch, the same for every target and any number of workers. */
export interface Plan {
  rows: PlanRow[]
  /** SHA-256 of the schema name and the canonical rows; the cache-busting salt is no part of it. */
  hash: string
  /** Open loop: requests/s asked and what the drawn arrivals give (not rescaled); null in closed loop. */
  askedRate: number | null
  realisedRate: number | null
  /** Open loop: when the measured phase starts, ns after the warm-up phase. */
  measureOffsetNs: number
  /** One line for reports: counts, lengths, arrivals. */
  line: string
  notes: string[]
}

export interface PlanOptions {
  /** Smallest vocabulary among the targets; null: unknown, 32000 is taken. */
  vocabSize: number | null
  /** For prompts of text. Absent: one word counts as one token, and the plan says so. */
  tokenizer?: TextTokenizer
}

/** Expands scenario and seeds into the plan. Deterministic: equal inputs give equal bytes. */
export async function makePlan(scenario: Scenario, options: PlanOptions): Promise<Plan> {
  const text = scenario.workload.prompt === 'text' ? await textMaker(options.tokenizer ?? null) : null
  const makers: ContentMakers = { range: safeIdRange(options.vocabSize ?? 32_000), text }
  const source = await sessionSource(scenario, makers, options.tokenizer ?? null)
  const notes = [...source.notes]
  if (text !== null && !text.exact && scenario.workload.kind !== 'dataset') {
    notes.push('no tokenizer at hand: one word is planned as one token')
  }
  const timing = planTiming(scenario, source.dueMs)
  const measured = await fillPhase(source, 'measure', timing.measureDueNs, timing.requests)
  const warmup =
    scenario.cache === 'warm'
      ? measured.map((row) => ({ ...row, phase: 'warmup' as const }))
      : await fillPhase(source, 'warmup', timing.warmupDueNs, scenario.load.warmupRequests)
  const conversations = new Set(warmup.map((row) => row.conversation)).size
  const rows = [...warmup, ...measured].map((row, index) => ({
    ...row,
    index,
    conversation:
      row.conversation === null || row.phase === 'warmup' ? row.conversation : row.conversation + conversations,
    seed: scenario.sampling.seed + index,
  }))
  const { arrival } = scenario.load
  const timed = arrival.kind === 'closed' ? staggerFirstWave(rows, arrival.concurrency, arrival.staggerMs) : rows
  return sealPlan(scenario, timed, timing, notes)
}

/** Adds hash, rates and the line to finished rows. */
export function sealPlan(
  scenario: Scenario,
  rows: PlanRow[],
  timing: { askedRate: number | null; measureOffsetNs: number },
  notes: string[],
): Plan {
  const { askedRate: asked, measureOffsetNs } = timing
  const realised = asked === null ? null : realisedRate(rows)
  const line = planLine(scenario, rows, asked, realised)
  return { rows, hash: planHash(rows), askedRate: asked, realisedRate: realised, measureOffsetNs, line, notes }
}

/** SHA-256 over the schema name and one canonical JSON line a row. */
export function planHash(rows: readonly PlanRow[]): string {
  const hash = createHash('sha256').update(`${PLAN_SCHEMA}\n`)
  for (const row of rows) hash.update(canonicalRow(row)).update('\n')
  return hash.digest('hex')
}

/** One row with its keys in a fixed order. */
export function canonicalRow(row: PlanRow): string {
  return JSON.stringify({
    index: row.index,
    phase: row.phase,
    dueNs: row.dueNs,
    inputTokens: row.inputTokens,
    outputTokens: row.outputTokens,
    prefixGroup: row.prefixGroup,
    conversation: row.conversation,
    turn: row.turn,
    thinkNs: row.thinkNs,
    promptIds: row.promptIds,
    prompt: row.prompt,
    seed: row.seed,
  } satisfies Record<keyof PlanRow, unknown>)
}

interface Timing {
  /** Measured requests. */
  requests: number
  /** Due times of sessions, null in closed loop. */
  measureDueNs: number[] | null
  warmupDueNs: number[] | null
  askedRate: number | null
  measureOffsetNs: number
}

function planTiming(scenario: Scenario, traceDueMs: number[] | null): Timing {
  const { arrival, requests, warmupRequests } = scenario.load
  if (traceDueMs !== null) return replayTiming(scenario, traceDueMs)
  if (arrival.kind !== 'open') {
    return { requests: requests ?? 0, measureDueNs: null, warmupDueNs: null, askedRate: null, measureOffsetNs: 0 }
  }
  const stream = (phase: Phase) => new RandomStream(scenario.seeds.arrivals, 'arrivals', phase)
  const measure = arrivalTimes(arrival, requests, stream('measure'))
  const rate = arrival.stages[0]!.fromRate
  const steady = { ...arrival, stages: [{ fromRate: rate, toRate: rate, secs: null }] }
  const warmup = arrivalTimes(steady, warmupRequests, stream('warmup'))
  const last = scenario.cache === 'warm' ? measure.at(-1) : warmup.at(-1)
  const offsetSecs = last === undefined ? 0 : Math.max(last + 1 / rate, warmupRequests / rate)
  return {
    requests: measure.length,
    measureDueNs: measure.map(toNs),
    warmupDueNs: warmup.map(toNs),
    askedRate: askedRate(arrival, measure.length),
    measureOffsetNs: toNs(offsetSecs),
  }
}

/** A trace's own times, cut at the asked count and time; warm-up goes before it, evenly, at the trace's mean rate. */
function replayTiming(scenario: Scenario, traceDueMs: number[]): Timing {
  const { requests, maxSecs, warmupRequests } = scenario.load
  const within = traceDueMs.filter((ms) => maxSecs === null || ms <= maxSecs * 1000).slice(0, requests ?? undefined)
  const spanSecs = within.at(-1)! / 1000
  const rate = spanSecs > 0 ? within.length / spanSecs : 1
  const warmup = Array.from({ length: warmupRequests }, (_, index) => toNs(index / rate))
  return {
    requests: within.length,
    measureDueNs: within.map((ms) => toNs(ms / 1000)),
    warmupDueNs: warmup,
    askedRate: rate,
    measureOffsetNs: toNs((scenario.cache === 'warm' ? within.length : warmupRequests) / rate),
  }
}

function toNs(secs: number): number {
  return Math.round(secs * 1e9)
}

/** Sessions until the phase holds `requests` rows; the last conversation is cut there. In open loop sessions, not turns, arrive. */
async function fillPhase(
  source: SessionSource,
  phase: Phase,
  dueNs: number[] | null,
  requests: number,
): Promise<PlanRow[]> {
  const rows: PlanRow[] = []
  for (let session = 0; rows.length < requests && (dueNs === null || session < dueNs.length); session++) {
    const draft = await source.session(phase, session)
    rows.push(...sessionRows(draft, phase, session, dueNs === null ? null : dueNs[session]!))
  }
  return rows.slice(0, requests)
}

/** Rows of one session. A later turn of an open-loop conversation is due when its predecessor ends plus its think time: its dueNs is null. */
export function sessionRows(draft: SessionDraft, phase: Phase, session: number, dueNs: number | null): PlanRow[] {
  return draft.turns.map((turn, index) => ({
    index: 0,
    phase,
    dueNs: index === 0 ? dueNs : null,
    inputTokens: turn.inputTokens,
    outputTokens: turn.outputTokens,
    prefixGroup: turn.prefixGroup,
    conversation: draft.conversation ? session : null,
    turn: draft.conversation ? index : null,
    thinkNs: turn.thinkNs,
    promptIds: turn.promptIds,
    prompt: turn.prompt,
    seed: 0,
  }))
}

/** Arrivals per second of the measured phase as drawn: gaps, not a rescaled series. */
function realisedRate(rows: readonly PlanRow[]): number | null {
  const due = rows.flatMap((row) => (row.phase === 'measure' && row.dueNs !== null ? [row.dueNs] : []))
  const spanNs = due.length < 2 ? 0 : due.at(-1)! - due[0]!
  return spanNs === 0 ? null : ((due.length - 1) / spanNs) * 1e9
}
