import { SLOT } from '../../kernels/binding.js'
import { SEQUENCE_STATUS, type StepPlan } from '../engine.js'
import { addChange, addRow, DUMMY_SLOT } from '../plan.js'
import { writeSamplingState } from '../slot-state.js'
import type { StaticSequence } from './sequence.js'

/** Int32 elements of a slot: its state and the one block, as long as the longest sequence, that is always its own. */
export const STATIC_SLOT_STRIDE = SLOT.blocks + 1

/**
 * One batch from its closing to the end of its longest member: all prompts, then lockstep decoding. Member i sits in slot and block i + 1.
 * literal: as Hugging Face's generate. Shorter prompts cost the longest one's tokens (the padding is computed as a row of the dummy
 * slot, so that real tokens keep positions 0.. and answers stay bit-equal), and finished members are computed until the batch ends.
 * generous: packed prompts, finished members skipped.
 */
export class StaticBatch {
  readonly members: StaticSequence[] = []
  #longestPrompt = 0
  #longestOutput = 0
  /** Members before it have their prompt (and padding) planned. */
  #prefilled = 0
  startNs = 0

  constructor(
    readonly variant: 'literal' | 'generous',
    readonly maxModelLen: number,
    readonly maxNumBatchedTokens: number,
  ) {}

  get longestPrompt(): number {
    return this.#longestPrompt
  }
  get longestOutput(): number {
    return this.#longestOutput
  }

  start(nowNs: number): void {
    this.members.length = 0
    this.#longestPrompt = 0
    this.#longestOutput = 0
    this.#prefilled = 0
    this.startNs = nowNs
  }

  /** Seats a sequence; all are seated before the first plan. */
  join(sequence: StaticSequence, nowNs: number): void {
    this.members.push(sequence)
    sequence.slot = this.members.length
    sequence.status = SEQUENCE_STATUS.running
    sequence.scheduledNs = nowNs
    this.#longestPrompt = Math.max(this.#longestPrompt, sequence.promptLength)
  }

  ended(): boolean {
    for (let i = 0; i < this.members.length; i++) if (this.members[i]!.finishReason === null) return false
    return true
  }

  noteOutput(sequence: StaticSequence): void {
    this.#longestOutput = Math.max(this.#longestOutput, sequence.length - sequence.promptLength)
  }

  /** The next step: prompts while any is left, then one token of each member; false: every live member's last token is on its way. */
  plan(plan: StepPlan): boolean {
    if (this.#prefilled < this.members.length) this.#planPrompts(plan)
    if (plan.rows === 0) this.#planDecode(plan)
    return plan.rows > 0
  }

  /** Prompts in order, cut where the step's token budget ends. */
  #planPrompts(plan: StepPlan): void {
    let budget = this.maxNumBatchedTokens
    while (budget > 0 && this.#prefilled < this.members.length) {
      const member = this.members[this.#prefilled]!
      budget -= this.#planPrompt(plan, member, budget)
      budget -= this.#planPadding(plan, member, budget)
      if (this.#owed(member) > 0 || this.#paddingOwed(member) > 0) return
      this.#prefilled++
    }
  }

  #planPrompt(plan: StepPlan, member: StaticSequence, budget: number): number {
    const tokens = Math.min(this.#owed(member), budget)
    if (tokens === 0) return 0
    if (!member.seated) this.#seat(plan, member)
    const sample = member.computed + tokens === member.promptLength
    addRow(plan, member, member.slot, member.computed, tokens, sample, true)
    member.computed += tokens
    if (sample) member.inFlight++
    plan.prefillTokens += tokens
    return tokens
  }

  #planPadding(plan: StepPlan, member: StaticSequence, budget: number): number {
    const tokens = Math.min(this.#paddingOwed(member), budget)
    if (tokens === 0) return 0
    addRow(plan, null, DUMMY_SLOT, member.padded, tokens, false, false)
    member.padded += tokens
    member.wastedTokens += tokens
    plan.paddedTokens += tokens
    return tokens
  }

  #planDecode(plan: StepPlan): void {
    if (!this.members.some(live)) return
    for (let i = 0; i < this.members.length; i++) {
      const member = this.members[i]!
      if (live(member)) {
        addRow(plan, member, member.slot, member.computed++, 1, true, false)
        member.inFlight++
        plan.decodeTokens++
      } else if (this.variant === 'literal') this.#planFinished(plan, member)
    }
    plan.decodeRows = plan.rows
  }

  /** A finished member's row goes on in its own slot, at the last position once that is reached; its token is nobody's. */
  #planFinished(plan: StepPlan, member: StaticSequence): void {
    const start = Math.min(member.computed++, this.maxModelLen - 1)
    addRow(plan, null, member.slot, start, 1, true, false)
    member.wastedTokens++
    plan.paddedTokens++
  }

  #seat(plan: StepPlan, member: StaticSequence): void {
    writeSamplingState(plan, member.slot, STATIC_SLOT_STRIDE, member)
    addChange(plan, member.slot * STATIC_SLOT_STRIDE + SLOT.blocks, member.slot)
    member.seated = true
  }

  /** Prompt tokens still to compute; none for a member that was aborted before. */
  #owed(member: StaticSequence): number {
    return member.finishReason === null ? Math.max(0, member.promptLength - member.computed) : 0
  }
  #paddingOwed(member: StaticSequence): number {
    if (this.variant === 'generous' || member.finishReason !== null) return 0
    return this.#longestPrompt - member.promptLength - member.padded
  }
}

function live(member: StaticSequence): boolean {
  return member.finishReason === null && !member.saturated
}
