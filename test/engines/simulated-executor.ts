import { stagingLayout, writeStaging } from '../../engines/batch.js'
import type { StepPlan } from '../../engines/engine.js'
import type { PlanLimits } from '../../engines/plan.js'
import { dummySlotState } from '../../engines/slot-state.js'
import { SLOT, STEP } from '../../kernels/binding.js'

const VOCAB = 50_000

/** The token that follows a text: a hash of every token before it. */
export function nextToken(tokens: ArrayLike<number>, length: number): number {
  let h = 0x811c9dc5
  for (let i = 0; i < length; i++) h = fold(h, tokens[i]!)
  return finishToken(h)
}

/** What a sequence must answer, alone or not. */
export function expectedOutput(
  prompt: readonly number[],
  maxTokens: number,
  stopTokenIds: readonly number[] = [],
): number[] {
  const tokens = [...prompt]
  while (tokens.length < prompt.length + maxTokens) {
    const token = nextToken(tokens, tokens.length)
    tokens.push(token)
    if (stopTokenIds.includes(token)) break
  }
  return tokens.slice(prompt.length)
}

/**
 * A device without a model: it reads the same staging block as the kernels, keeps a slot table, a history and a "KV cache" that holds
 * token ids, and samples a hash of all tokens it finds through the block table. So a wrong block, a block given away too early, a
 * stale slot or a wrong prefix hit changes the answer. Virtual time: a step costs `stepNs` + `tokenNs` a token.
 */
export class SimulatedExecutor {
  nowNs = 0
  steps = 0
  readonly #layout
  readonly #staging: Int32Array
  readonly #table: Int32Array
  readonly #history: Int32Array
  readonly #kv: Int32Array

  constructor(
    readonly limits: PlanLimits,
    readonly shape: { slots: number; slotStride: number; maxModelLen: number; blocks: number; blockSize: number },
    readonly cost = { stepNs: 1e6, tokenNs: 1e4 },
  ) {
    this.#layout = stagingLayout(limits)
    this.#staging = new Int32Array(this.#layout.length)
    this.#table = new Int32Array(shape.slots * shape.slotStride)
    this.#table.set(dummySlotState(shape.slotStride))
    this.#history = new Int32Array(shape.slots * shape.maxModelLen)
    this.#kv = new Int32Array(shape.blocks * shape.blockSize).fill(-1)
  }

  /** Runs a step; the tokens of its sampling rows. */
  run(plan: StepPlan): Int32Array {
    if (
      plan.rows > this.limits.maxRows ||
      plan.tokens > this.limits.maxTokens ||
      plan.changes > this.limits.maxChanges
    ) {
      throw new Error(`plan over its limits: ${plan.rows} rows, ${plan.tokens} tokens, ${plan.changes} changes`)
    }
    this.#staging.fill(-7)
    writeStaging(this.#staging, this.#layout, plan, 0)
    this.steps++
    this.nowNs += this.cost.stepNs + plan.tokens * this.cost.tokenNs
    this.#apply()
    return this.#sample()
  }

  /** Changes, then every row's keys: all are written before any is read, as rope_store before attention. */
  #apply(): void {
    const s = this.#staging
    const at = this.#layout
    for (let i = 0; i < s[STEP.changes]!; i++) this.#table[s[at.changes + 2 * i]!] = s[at.changes + 2 * i + 1]!
    for (let row = 0; row < s[STEP.rows]!; row++) {
      const slot = s[at.rowSlot + row]!
      const source = s[at.rowSource + row]!
      const count = s[at.queryStart + row + 1]! - s[at.queryStart + row]!
      if (row < s[STEP.decodeRows]! && count !== 1) throw new Error(`decode row ${row} has ${count} tokens`)
      for (let i = 0; i < count; i++) {
        const position = s[at.rowStart + row]! + i
        if (position >= this.shape.maxModelLen) throw new Error(`position ${position} is beyond the context`)
        if (source >= 0) this.#history[slot * this.shape.maxModelLen + position] = s[at.tokens + source + i]!
        this.#kv[this.#kvSlot(slot, position)] = this.#history[slot * this.shape.maxModelLen + position]!
      }
    }
  }

  #sample(): Int32Array {
    const s = this.#staging
    const at = this.#layout
    const sampled = new Int32Array(s[STEP.samples]!)
    for (let sample = 0; sample < sampled.length; sample++) {
      const row = s[at.sampleRow + sample]!
      const slot = s[at.rowSlot + row]!
      const length = s[at.rowStart + row]! + s[at.queryStart + row + 1]! - s[at.queryStart + row]!
      let h = 0x811c9dc5
      for (let position = 0; position < length; position++) h = fold(h, this.#kv[this.#kvSlot(slot, position)]!)
      sampled[sample] = finishToken(h)
      if (length < this.shape.maxModelLen) this.#history[slot * this.shape.maxModelLen + length] = sampled[sample]!
    }
    return sampled
  }

  #kvSlot(slot: number, position: number): number {
    const { slotStride, blockSize } = this.shape
    const block = this.#table[slot * slotStride + SLOT.blocks + Math.floor(position / blockSize)]!
    return block * blockSize + (position % blockSize)
  }
}

function fold(hash: number, token: number): number {
  const h = Math.imul(hash ^ token, 0x01000193)
  return h ^ (h >>> 15)
}

function finishToken(hash: number): number {
  let h = hash
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return ((h ^ (h >>> 16)) >>> 0) % VOCAB
}
