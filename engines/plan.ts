import type { Sequence, StepPlan } from './engine.js'

/** The largest step an engine may plan. */
export interface PlanLimits {
  maxRows: number
  maxTokens: number
  /** Slot-table entries changed by one step. */
  maxChanges: number
}

/** Row 0 of the slot table and block 0 of the cache serve padding only. */
export const DUMMY_SLOT = 0
export const DUMMY_BLOCK = 0

export function createStepPlan(limits: PlanLimits): StepPlan {
  return {
    rows: 0,
    decodeRows: 0,
    tokens: 0,
    samples: 0,
    paddedTokens: 0,
    prefillTokens: 0,
    decodeTokens: 0,
    preemptions: 0,
    cachedTokens: 0,
    sequence: new Array<Sequence | null>(limits.maxRows).fill(null),
    slot: new Int32Array(limits.maxRows),
    start: new Int32Array(limits.maxRows),
    count: new Int32Array(limits.maxRows),
    sample: new Uint8Array(limits.maxRows),
    upload: new Uint8Array(limits.maxRows),
    changes: 0,
    changePairs: new Int32Array(2 * limits.maxChanges),
  }
}

export function clearPlan(plan: StepPlan): void {
  plan.rows = 0
  plan.decodeRows = 0
  plan.tokens = 0
  plan.samples = 0
  plan.paddedTokens = 0
  plan.prefillTokens = 0
  plan.decodeTokens = 0
  plan.preemptions = 0
  plan.cachedTokens = 0
  plan.changes = 0
}

/** Appends a row of `count` tokens from position `start`; the tallies of padding, prefill and decode are the caller's. */
export function addRow(
  plan: StepPlan,
  sequence: Sequence | null,
  slot: number,
  start: number,
  count: number,
  sample: boolean,
  upload: boolean,
): void {
  const row = plan.rows++
  plan.sequence[row] = sequence
  plan.slot[row] = slot
  plan.start[row] = start
  plan.count[row] = count
  plan.sample[row] = sample ? 1 : 0
  plan.upload[row] = upload ? 1 : 0
  plan.tokens += count
  if (sample) plan.samples++
}

/** slot_table[index] = value before the step runs; index counts int32 elements from the table's start. */
export function addChange(plan: StepPlan, index: number, value: number): void {
  plan.changePairs[2 * plan.changes] = index
  plan.changePairs[2 * plan.changes + 1] = value
  plan.changes++
}
