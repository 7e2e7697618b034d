import { type FinishReason, type GenerationRequest, GREEDY, SEQUENCE_STATUS, type Sequence } from './engine.js'

/** Below this temperature the sampler takes the argmax (kernels.h). */
const GREEDY_TEMPERATURE = 1e-6

const NO_REQUEST: GenerationRequest = {
  id: '',
  clientId: '',
  promptTokenIds: [],
  maxTokens: 0,
  ignoreEos: true,
  stopTokenIds: [],
  sampling: GREEDY,
  topLogprobs: -1,
  priority: 0,
  arrivalNs: 0,
}

/** A sequence's state, used again for the next request by the engine's pool; its token array grows and is kept. */
export class SequenceState implements Sequence {
  request = NO_REQUEST
  tokens = new Int32Array(0)
  length = 0
  promptLength = 0
  computed = 0
  inFlight = 0
  slot = 0
  status: number = SEQUENCE_STATUS.waiting
  cachedTokens = 0
  preemptions = 0
  aborted = false
  greedy = true
  /** The sampler reads the prompt or the output so far: all of it must stand in the slot's history. */
  readsHistory = false
  finishReason: FinishReason | null = null
  wastedTokens = 0
  scheduledNs = 0
  firstTokenNs = 0
  finishedNs = 0

  /** Takes over for a new request: prompt copied, counters zero. */
  begin(request: GenerationRequest): void {
    const { promptTokenIds, sampling } = request
    this.request = request
    this.promptLength = promptTokenIds.length
    const capacity = this.promptLength + request.maxTokens
    if (this.tokens.length < capacity) this.tokens = new Int32Array(sizeClass(capacity))
    for (let i = 0; i < this.promptLength; i++) this.tokens[i] = promptTokenIds[i]!
    this.length = this.promptLength
    this.computed = 0
    this.inFlight = 0
    this.slot = 0
    this.status = SEQUENCE_STATUS.waiting
    this.cachedTokens = 0
    this.preemptions = 0
    this.aborted = false
    this.readsHistory =
      sampling.repetitionPenalty !== 1 || sampling.presencePenalty !== 0 || sampling.frequencyPenalty !== 0
    this.greedy = sampling.temperature < GREEDY_TEMPERATURE && !this.readsHistory && sampling.minTokens === 0
    this.finishReason = null
    this.wastedTokens = 0
    this.scheduledNs = 0
    this.firstTokenNs = 0
    this.finishedNs = 0
  }

  /** Drops what it refers to, so that a pooled object keeps nothing alive. */
  retire(): void {
    this.request = NO_REQUEST
  }

  /** All tokens it may have are sampled or on the way: no further row is needed. */
  get saturated(): boolean {
    return this.length - this.promptLength + this.inFlight >= this.request.maxTokens
  }

  /** Appends a sampled token; the reason when it was the last one. The order is vLLM's: stop ids before the length. */
  append(token: number): FinishReason | null {
    this.tokens[this.length++] = token
    const outputs = this.length - this.promptLength
    const { stopTokenIds, maxTokens, sampling } = this.request
    if (outputs > sampling.minTokens && stopTokenIds.includes(token)) return 'stop'
    return outputs >= maxTokens ? 'length' : null
  }
}

/** Powers of two from 64, so that a pooled array fits the next request of about the same size. */
function sizeClass(tokens: number): number {
  return Math.max(64, 2 ** Math.ceil(Math.log2(tokens)))
}
