import { SLOT } from '../kernels/binding.js'
import type { Sequence, StepPlan } from './engine.js'
import { addChange } from './plan.js'

/** Stop ids the sampler can ban below min_tokens; further ones are only not obeyed there. */
const STOP_IDS = 4

const float = new Float32Array(1)
const bits = new Int32Array(float.buffer)

/** Gives `slot` the sampling state of `sequence`: 16 changes. `slotStride`: int32 elements of a slot (16 + blocks). */
export function writeSamplingState(plan: StepPlan, slot: number, slotStride: number, sequence: Sequence): void {
  const { sampling, stopTokenIds } = sequence.request
  const base = slot * slotStride
  addChange(plan, base + SLOT.temperature, floatBits(sampling.temperature))
  addChange(plan, base + SLOT.topK, sampling.topK)
  addChange(plan, base + SLOT.topP, floatBits(sampling.topP))
  addChange(plan, base + SLOT.minP, floatBits(sampling.minP))
  addChange(plan, base + SLOT.repetition, floatBits(sampling.repetitionPenalty))
  addChange(plan, base + SLOT.presence, floatBits(sampling.presencePenalty))
  addChange(plan, base + SLOT.frequency, floatBits(sampling.frequencyPenalty))
  addChange(plan, base + SLOT.seedLow, sampling.seedLow | 0)
  addChange(plan, base + SLOT.seedHigh, sampling.seedHigh | 0)
  addChange(plan, base + SLOT.prompt, sequence.promptLength)
  addChange(plan, base + SLOT.minLength, sampling.minTokens > 0 ? sequence.promptLength + sampling.minTokens : 0)
  for (let i = 0; i < STOP_IDS; i++) {
    addChange(plan, base + SLOT.stop0 + i, i < stopTokenIds.length ? stopTokenIds[i]! : -1)
  }
  addChange(plan, base + SLOT.flags, 0)
}

/** The dummy slot's state, written once at start-up: greedy, nothing banned, every block the dummy block. int32 [slotStride]. */
export function dummySlotState(slotStride: number): Int32Array {
  const state = new Int32Array(slotStride)
  state[SLOT.topP] = floatBits(1)
  state[SLOT.repetition] = floatBits(1)
  state.fill(-1, SLOT.stop0, SLOT.stop0 + STOP_IDS)
  return state
}

function floatBits(value: number): number {
  float[0] = value
  return bits[0]!
}
