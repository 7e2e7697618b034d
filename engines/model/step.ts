import type { Address } from '../../kernels/binding.js'

/**
 * Device buffers of a step, owned by the executor; the meanings are those of kn_step_prepare. T tokens, R rows, S sampling rows.
 * queryStart, rowSlot and sampleRow are addresses inside the staging block.
 */
export interface StepBuffers {
  staging: Address
  /** int32 [maxRows + 1]. */
  queryStart: Address
  /** int32 [maxRows]. */
  rowSlot: Address
  /** int32 [maxRows]. */
  sampleRow: Address
  /** int32 [slots, slotStride]. */
  slotTable: Address
  /** int32 [slots, historyStride]. */
  history: Address
  /** int32 [maxTokens] each. */
  ids: Address
  positions: Address
  kvSlot: Address
  /** int32 [maxRows] each. */
  kvLength: Address
  sampleIndex: Address
  /** int32 [maxRows]: the sampled tokens, in sampling-row order. */
  sampled: Address
  /** The pool: [block][layer][k, v][G][blockSize][D], blockStride bytes a block (kvBytesPerBlock). */
  kv: Address
  blockStride: number
  blockSize: number
  /** In int32 elements. */
  slotStride: number
  historyStride: number
  maxRows: number
  maxChanges: number
  maxTokens: number
}

/** The frozen sizes of one step (of its bucket, when captured into a graph). */
export interface StepShape {
  rows: number
  /** The first rows, with exactly one token each. */
  decodeRows: number
  tokens: number
  samples: number
  /** No row's cache is longer; in a captured graph, the longest any replay may see. */
  maxKv: number
  /** Every sampling row is greedy, without penalty or ban. */
  greedyOnly: boolean
  /** -1: no log-probabilities; 0..20: that many alternatives beside the sampled token's. */
  topLogprobs: number
}
