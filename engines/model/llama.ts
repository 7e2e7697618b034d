import { type Address, DTYPE, type Kernels } from '../../kernels/binding.js'
import { type Activations, activationSizes, type ForwardLimits } from './activations.js'
import type { ModelConfig } from './config.js'
import { ropeTable } from './rope.js'
import { kvBytesPerToken } from './sizes.js'
import type { ModelWeights } from './weights.js'

export { activationBytes, type ForwardLimits } from './activations.js'
export { decodeWeightBytes, flopsPerToken, kvBytesPerBlock, kvBytesPerToken } from './sizes.js'

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

/**
 * The forward pass of the Llama family (Touvron et al., arXiv 2302.13971; Qwen2 adds biases to q, k, v), written once for every
 * backend and both engines. Owns its activations; a step allocates nothing, so it can be captured into a graph as it stands.
 */
export class Llama {
  readonly #activations: Activations
  readonly #rope: Address
  readonly #attentionScale: number
  /** DTYPE of the activations. */
  readonly #x: number
  /** Bytes of one layer's part of a block: 2 G blockSize D elements. */
  readonly #layerTokenBytes: number

  /** `fused: false` takes the unfused twins of add+norm, rope+store and silu x up. Throws KernelError when memory is short. */
  constructor(
    readonly kernels: Kernels,
    readonly config: ModelConfig,
    readonly weights: ModelWeights,
    readonly limits: ForwardLimits,
    readonly fused: boolean,
  ) {
    const sizes = activationSizes(kernels, config, limits)
    const activations = {} as Activations
    for (const [name, bytes] of Object.entries(sizes)) {
      activations[name as keyof Activations] = bytes === 0 ? 0 : kernels.alloc(bytes)
    }
    this.#activations = activations
    this.#rope = activations.rope
    kernels.upload(this.#rope, ropeTable(config, limits.maxKv))
    this.#attentionScale = 1 / Math.sqrt(config.headDim)
    this.#x = DTYPE[kernels.info.activationDtype]
    this.#layerTokenBytes = kvBytesPerToken(config, kernels.info.kvBytes) / config.layers
  }

  /** f32 [S, V] of the last step. With sampling that is not greedy the penalties and the temperature are already applied. */
  get logits(): Address {
    return this.#activations.logits
  }
  /** f32 [S, 1 + top] of the last step that asked for log-probabilities: the sampled token's, then the most likely, descending. */
  get logprobs(): Address {
    return this.#activations.logprobs
  }
  /** int32 [S, 1 + top], likewise. */
  get logprobTokens(): Address {
    return this.#activations.logprobTokens
  }

  /** One step: kn_step_prepare over the uploaded staging block, the layers, the output matrix, the sampled tokens into step.sampled. */
  forward(step: StepBuffers, shape: StepShape): void {
    this.#prepare(step, shape)
    this.#embed(step, shape)
    for (let layer = 0; layer < this.config.layers; layer++) {
      this.#attention(layer, step, shape)
      this.#mlp(layer, shape)
    }
    if (shape.samples === 0) return
    this.#output(step, shape)
    this.#sample(step, shape)
  }

  /** Gives the activations back; the weights are not its own. */
  destroy(): void {
    for (const address of Object.values(this.#activations)) if (address !== 0) this.kernels.free(address)
  }

  #prepare(step: StepBuffers, shape: StepShape): void {
    this.kernels.stepPrepare(
      step.staging,
      step.slotTable,
      step.history,
      step.ids,
      step.positions,
      step.kvSlot,
      step.kvLength,
      step.sampleIndex,
      shape.rows,
      shape.tokens,
      shape.samples,
      step.maxRows,
      step.maxChanges,
      step.maxTokens,
      step.slotStride,
      step.historyStride,
      step.blockSize,
    )
  }

  /** residual [T, d] = embedding of ids; normed [T, d] = its norm for the first layer. */
  #embed(step: StepBuffers, shape: StepShape): void {
    const { residual, normed } = this.#activations
    const { hiddenSize, vocabSize, rmsNormEps } = this.config
    this.kernels.embedding(residual, this.weights.embedding, step.ids, shape.tokens, vocabSize, hiddenSize)
    this.kernels.rmsnorm(normed, residual, this.weights.layers[0]!.attentionNorm, shape.tokens, hiddenSize, rmsNormEps)
  }

  /** normed [T, d] -> qkv [T, (H + 2G) D] -> attended [T, H D] -> projected [T, d], added to the residual; normed for the MLP. */
  #attention(layer: number, step: StepBuffers, shape: StepShape): void {
    const { kernels, config } = this
    const { hiddenSize, heads, kvHeads, headDim } = config
    const { normed, qkv, attended, projected, attentionWorkspace } = this.#activations
    const weights = this.weights.layers[layer]!
    const tokens = shape.tokens
    const qkvWidth = (heads + 2 * kvHeads) * headDim
    const kv = step.kv + layer * step.blockSize * this.#layerTokenBytes
    kernels.matmul(qkv, normed, weights.qkv, weights.qkvBias, tokens, qkvWidth, hiddenSize, this.#x)
    this.#ropeStore(qkv, kv, step, tokens)
    kernels.attention(
      attended,
      qkv,
      qkvWidth,
      kv,
      step.blockStride,
      step.blockSize,
      step.queryStart,
      step.kvLength,
      step.rowSlot,
      step.slotTable,
      step.slotStride,
      shape.rows,
      shape.decodeRows,
      tokens,
      heads,
      kvHeads,
      headDim,
      this.#attentionScale,
      shape.maxKv,
      attentionWorkspace,
    )
    kernels.matmul(projected, attended, weights.output, 0, tokens, hiddenSize, heads * headDim, this.#x)
    this.#addNorm(projected, weights.mlpNorm, tokens)
  }

  /** normed [T, d] -> gateUp [T, 2f] -> gated [T, f] -> projected [T, d], added to the residual; normed for what follows. */
  #mlp(layer: number, shape: StepShape): void {
    const { kernels } = this
    const { hiddenSize, intermediateSize, layers } = this.config
    const { normed, gateUp, gated, projected } = this.#activations
    const weights = this.weights.layers[layer]!
    const tokens = shape.tokens
    kernels.matmul(gateUp, normed, weights.gateUp, 0, tokens, 2 * intermediateSize, hiddenSize, this.#x)
    if (this.fused) kernels.siluMul(gated, gateUp, tokens, intermediateSize)
    else {
      kernels.silu(gated, gateUp, tokens, intermediateSize)
      kernels.mul(gated, gateUp, tokens, intermediateSize)
    }
    kernels.matmul(projected, gated, weights.down, 0, tokens, hiddenSize, intermediateSize, this.#x)
    const nextNorm = layer + 1 < layers ? this.weights.layers[layer + 1]!.attentionNorm : this.weights.finalNorm
    this.#addNorm(projected, nextNorm, tokens)
  }

  /** logits f32 [S, V] of each sampling row's last token. */
  #output(step: StepBuffers, shape: StepShape): void {
    const { kernels } = this
    const { normed, gathered, logits } = this.#activations
    const { hiddenSize, vocabSize } = this.config
    kernels.gatherRows(gathered, normed, step.sampleIndex, shape.samples, hiddenSize)
    kernels.matmul(logits, gathered, this.weights.head, 0, shape.samples, vocabSize, hiddenSize, DTYPE.f32)
  }

  /** sampled int32 [S]; log-probabilities come from the logits as they were before sampling. */
  #sample(step: StepBuffers, shape: StepShape): void {
    const { kernels } = this
    const { logits, rawLogits, logprobs, logprobTokens, sampleWorkspace } = this.#activations
    const { vocabSize } = this.config
    const wantsLogprobs = shape.topLogprobs >= 0
    const keepRaw = wantsLogprobs && !shape.greedyOnly
    if (keepRaw) kernels.copy(rawLogits, logits, shape.samples * vocabSize * 4)
    kernels.sample(
      step.sampled,
      logits,
      step.sampleRow,
      step.rowSlot,
      step.kvLength,
      step.slotTable,
      step.slotStride,
      step.history,
      step.historyStride,
      shape.samples,
      vocabSize,
      shape.greedyOnly ? 1 : 0,
      sampleWorkspace,
    )
    if (!wantsLogprobs) return
    const raw = keepRaw ? rawLogits : logits
    kernels.logprobs(logprobs, logprobTokens, raw, step.sampled, shape.samples, vocabSize, shape.topLogprobs)
  }

  #ropeStore(qkv: Address, kv: Address, step: StepBuffers, tokens: number): void {
    const { kernels } = this
    const { heads, kvHeads, headDim } = this.config
    const { positions, kvSlot, blockStride, blockSize } = step
    if (this.fused) {
      const rope = this.#rope
      kernels.ropeStore(qkv, positions, kvSlot, rope, kv, blockStride, blockSize, tokens, heads, kvHeads, headDim)
      return
    }
    kernels.rope(qkv, positions, this.#rope, tokens, heads, kvHeads, headDim)
    kernels.kvStore(qkv, kvSlot, kv, blockStride, blockSize, tokens, heads, kvHeads, headDim)
  }

  /** residual += branch; normed = rmsnorm(residual) * weight. */
  #addNorm(branch: Address, weight: Address, tokens: number): void {
    const { residual, normed } = this.#activations
    const { hiddenSize, rmsNormEps } = this.config
    if (this.fused) {
      this.kernels.addRmsnorm(normed, residual, branch, weight, tokens, hiddenSize, rmsNormEps)
      return
    }
    this.kernels.add(residual, branch, tokens, hiddenSize)
    this.kernels.rmsnorm(normed, residual, weight, tokens, hiddenSize, rmsNormEps)
  }
}
