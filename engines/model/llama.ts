import { type Address, DTYPE, type Kernels } from '../../kernels/binding.js'
import { type Activations, activationSizes, type ForwardLimits } from './activations.js'
import type { ModelConfig } from './config.js'
import { ropeTable } from './rope.js'
import { kvBytesPerToken } from './sizes.js'
import type { StepBuffers, StepShape } from './step.js'
import type { ModelWeights } from './weights.js'

export { activationBytes, type ForwardLimits } from './activations.js'
export { decodeWeightBytes, flopsPerToken, kvBytesPerBlock, kvBytesPerToken } from './sizes.js'
export type { StepBuffers, StepShape } from './step.js'

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

  /**
   * One step: kn_step_prepare over the uploaded staging block, the layers, the output matrix, the sampled tokens into step.sampled.
   * Behind the last attention only the S sampled rows are computed: no other row's output is ever read.
   */
  forward(step: StepBuffers, shape: StepShape): void {
    const { attended, residual, gatheredAttended, gatheredResidual } = this.#activations
    const last = this.config.layers - 1
    this.#prepare(step, shape)
    this.#embed(step, shape)
    for (let layer = 0; layer < last; layer++) {
      this.#attention(layer, step, shape)
      this.#project(layer, attended, residual, shape.tokens)
    }
    this.#attention(last, step, shape)
    if (shape.samples === 0) return
    this.#gather(step, shape)
    this.#project(last, gatheredAttended, gatheredResidual, shape.samples)
    this.#output(shape)
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

  /** normed [T, d] -> qkv [T, (H + 2G) D], keys and values into the cache -> attended [T, H D]. */
  #attention(layer: number, step: StepBuffers, shape: StepShape): void {
    const { kernels } = this
    const { hiddenSize, heads, kvHeads, headDim } = this.config
    const { normed, qkv, attended, attentionWorkspace } = this.#activations
    const { qkv: weight, qkvBias } = this.weights.layers[layer]!
    const qkvWidth = (heads + 2 * kvHeads) * headDim
    const kv = step.kv + layer * step.blockSize * this.#layerTokenBytes
    kernels.matmul(qkv, normed, weight, qkvBias, shape.tokens, qkvWidth, hiddenSize, this.#x)
    this.#ropeStore(qkv, kv, step, shape.tokens)
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
      shape.tokens,
      heads,
      kvHeads,
      headDim,
      this.#attentionScale,
      shape.maxKv,
      attentionWorkspace,
    )
  }

  /**
   * The rest of a layer, rows independent of each other: attended [T, H D] -> projected [T, d], added to residual [T, d]; its norm ->
   * gateUp [T, 2f] -> gated [T, f] -> projected, added; then normed for the next layer or the output.
   */
  #project(layer: number, attended: Address, residual: Address, tokens: number): void {
    const { kernels } = this
    const { hiddenSize, intermediateSize, heads, headDim, layers } = this.config
    const { normed, gateUp, gated, projected } = this.#activations
    const weights = this.weights.layers[layer]!
    const nextNorm = layer + 1 < layers ? this.weights.layers[layer + 1]!.attentionNorm : this.weights.finalNorm
    kernels.matmul(projected, attended, weights.output, 0, tokens, hiddenSize, heads * headDim, this.#x)
    this.#addNorm(residual, projected, weights.mlpNorm, tokens)
    kernels.matmul(gateUp, normed, weights.gateUp, 0, tokens, 2 * intermediateSize, hiddenSize, this.#x)
    this.#activate(gated, gateUp, tokens)
    kernels.matmul(projected, gated, weights.down, 0, tokens, hiddenSize, intermediateSize, this.#x)
    this.#addNorm(residual, projected, nextNorm, tokens)
  }

  /** The sampled rows of attended and residual: [S, H D], [S, d]. */
  #gather(step: StepBuffers, shape: StepShape): void {
    const { attended, residual, gatheredAttended, gatheredResidual } = this.#activations
    const { hiddenSize, heads, headDim } = this.config
    this.kernels.gatherRows(gatheredAttended, attended, step.sampleIndex, shape.samples, heads * headDim)
    this.kernels.gatherRows(gatheredResidual, residual, step.sampleIndex, shape.samples, hiddenSize)
  }

  /** logits f32 [S, V] from normed [S, d]. */
  #output(shape: StepShape): void {
    const { normed, logits } = this.#activations
    const { hiddenSize, vocabSize } = this.config
    this.kernels.matmul(logits, normed, this.weights.head, 0, shape.samples, vocabSize, hiddenSize, DTYPE.f32)
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

  /** gated [T, f] = silu(gate) * up. */
  #activate(gated: Address, gateUp: Address, tokens: number): void {
    const width = this.config.intermediateSize
    if (this.fused) {
      this.kernels.siluMul(gated, gateUp, tokens, width)
      return
    }
    this.kernels.silu(gated, gateUp, tokens, width)
    this.kernels.mul(gated, gateUp, tokens, width)
  }

  /** residual += branch; normed = rmsnorm(residual) * weight. */
  #addNorm(residual: Address, branch: Address, weight: Address, tokens: number): void {
    const { normed } = this.#activations
    const { hiddenSize, rmsNormEps } = this.config
    if (this.fused) {
      this.kernels.addRmsnorm(normed, residual, branch, weight, tokens, hiddenSize, rmsNormEps)
      return
    }
    this.kernels.add(residual, branch, tokens, hiddenSize)
    this.kernels.rmsnorm(normed, residual, weight, tokens, hiddenSize, rmsNormEps)
  }
}
