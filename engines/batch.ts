import { STEP } from '../kernels/binding.js'
import type { StepPlan } from './engine.js'
import { DUMMY_SLOT, type PlanLimits } from './plan.js'

/** Offsets of the staging block's sections, in int32 elements (kernels.h, "step preparation"). */
export interface StagingLayout {
  rowSlot: number
  rowStart: number
  rowSource: number
  queryStart: number
  sampleRow: number
  changes: number
  tokens: number
  length: number
}

export function stagingLayout({ maxRows, maxChanges, maxTokens }: PlanLimits): StagingLayout {
  const rowSlot = STEP.header
  const rowStart = rowSlot + maxRows
  const rowSource = rowStart + maxRows
  const queryStart = rowSource + maxRows
  const sampleRow = queryStart + maxRows + 1
  const changes = sampleRow + maxRows
  const tokens = changes + 2 * maxChanges
  return { rowSlot, rowStart, rowSource, queryStart, sampleRow, changes, tokens, length: tokens + maxTokens }
}

/**
 * Writes a plan into a staging block, filled up with dummy rows to `bucketRows` (each one token of the dummy slot, sampled; for
 * decode-only plans that replay a captured graph). Returns the int32 elements that are in use from the block's start.
 */
export function writeStaging(staging: Int32Array, layout: StagingLayout, plan: StepPlan, bucketRows: number): number {
  const padding = Math.max(0, bucketRows - plan.rows)
  staging[STEP.rows] = plan.rows + padding
  staging[STEP.tokens] = plan.tokens + padding
  staging[STEP.samples] = plan.samples + padding
  staging[STEP.changes] = plan.changes
  staging[STEP.decodeRows] = plan.decodeRows + padding
  const uploaded = writeRows(staging, layout, plan)
  writePadding(staging, layout, plan, padding)
  for (let i = 0; i < 2 * plan.changes; i++) staging[layout.changes + i] = plan.changePairs[i]!
  if (uploaded > 0) return layout.tokens + uploaded
  if (plan.changes > 0) return layout.changes + 2 * plan.changes
  return layout.changes
}

/** The plan's own rows; returns how many token ids were copied. */
function writeRows(staging: Int32Array, layout: StagingLayout, plan: StepPlan): number {
  let token = 0
  let sample = 0
  let uploaded = 0
  for (let row = 0; row < plan.rows; row++) {
    const start = plan.start[row]!
    const count = plan.count[row]!
    const uploads = plan.upload[row] === 1
    staging[layout.rowSlot + row] = plan.slot[row]!
    staging[layout.rowStart + row] = start
    staging[layout.rowSource + row] = uploads ? uploaded : -1
    staging[layout.queryStart + row] = token
    if (plan.sample[row] === 1) staging[layout.sampleRow + sample++] = row
    token += count
    if (!uploads) continue
    const tokens = plan.sequence[row]!.tokens
    for (let i = 0; i < count; i++) staging[layout.tokens + uploaded++] = tokens[start + i]!
  }
  staging[layout.queryStart + plan.rows] = token
  return uploaded
}

function writePadding(staging: Int32Array, layout: StagingLayout, plan: StepPlan, padding: number): void {
  for (let i = 0; i < padding; i++) {
    const row = plan.rows + i
    staging[layout.rowSlot + row] = DUMMY_SLOT
    staging[layout.rowStart + row] = 0
    staging[layout.rowSource + row] = -1
    staging[layout.sampleRow + plan.samples + i] = row
    staging[layout.queryStart + row + 1] = plan.tokens + i + 1
  }
}
