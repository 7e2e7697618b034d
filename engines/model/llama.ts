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
    kernels.upload(activations.rope, ropeTable(config, limits.maxKv))
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
    const { attended, residual, residualNext, gatheredAttended, gatheredResidual } = this.#activations
    const last = this.config.layers - 1
    const stream = { now: residual, next: residualNext, branch: 0 }
    this.#prepare(step, shape)
    this.#embed(step, shape)
    for (let layer = 0; layer < last; layer++) {
      this.#attention(layer, stream, step, shape)
      this.#mlp(layer, attended, stream, shape.tokens)
    }
    this.#attention(last, stream, step, shape)
    if (shape.samples === 0) return
    this.#gather(stream.now, step, shape)
    stream.now = gatheredResidual
    this.#mlp(last, gatheredAttended, stream, shape.samples)
    this.#output(stream, shape)
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

  /** residual [T, d] = embedding of ids. */
  #embed(step: StepBuffers, shape: StepShape): void {
    const { hiddenSize, vocabSize } = this.config
    const { residual } = this.#activations
    this.kernels.embedding(residual, this.weights.embedding, step.ids, shape.tokens, vocabSize, hiddenSize)
  }

  /** stream [T, d] -> qkv [T, (H + 2G) D], keys and values into the cache -> attended [T, H D]. */
  #attention(layer: number, stream: Stream, step: StepBuffers, shape: StepShape): void {
    const { kernels } = this
    const { heads, kvHeads, headDim } = this.config
    const { qkv, attended, attentionWorkspace } = this.#activations
    const kv = step.kv + layer * step.blockSize * this.#layerTokenBytes
    this.#attentionInput(layer, kv, stream, step, shape.tokens)
    kernels.attention(
      attended,
      qkv,
      (heads + 2 * kvHeads) * headDim,
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

  /** The rest of a layer, rows independent of each other: attended [T, H D] -> the stream's branch; gated [T, f] -> its next branch. */
  #mlp(layer: number, attended: Address, stream: Stream, tokens: number): void {
    const { kernels } = this
    const { hiddenSize, intermediateSize, heads, headDim } = this.config
    const { gated, projected } = this.#activations
    const weights = this.weights.layers[layer]!
    kernels.matmul(projected, attended, weights.output, 0, tokens, hiddenSize, heads * headDim, this.#x)
    stream.branch = projected
    this.#mlpInput(layer, stream, tokens)
    kernels.matmul(projected, gated, weights.down, 0, tokens, hiddenSize, intermediateSize, this.#x)
    stream.branch = projected
  }

  /** The sampled rows of attended and residual: [S, H D], [S, d]. */
  #gather(residual: Address, step: StepBuffers, shape: StepShape): void {
    const { attended, gatheredAttended, gatheredResidual } = this.#activations
    const { hiddenSize, heads, headDim } = this.config
    this.kernels.gatherRows(gatheredAttended, attended, step.sampleIndex, shape.samples, heads * headDim)
    this.kernels.gatherRows(gatheredResidual, residual, step.sampleIndex, shape.samples, hiddenSize)
  }

  /** logits f32 [S, V] from the stream [S, d]. */
  #output(stream: Stream, shape: StepShape): void {
    const { normed, logits } = this.#activations
    const { hiddenSize, vocabSize } = this.config
    this.#normed(stream, this.weights.finalNorm, shape.samples)
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

  /** qkv [T, (H + 2G) D] with rotated queries, keys and values in the cache; the branch is added to the stream. */
  #attentionInput(layer: number, kv: Address, stream: Stream, step: StepBuffers, tokens: number): void {
    const { kernels } = this
    const { hiddenSize, heads, kvHeads, headDim, rmsNormEps } = this.config
    const { qkv, normed, rope } = this.#activations
    const { qkv: weight, qkvBias, attentionNorm } = this.weights.layers[layer]!
    const { positions, kvSlot, blockStride, blockSize } = step
    const width = (heads + 2 * kvHeads) * headDim
    if (this.fused) {
      kernels.attentionInput(
        qkv,
        stream.next,
        normed,
        stream.now,
        stream.branch,
        attentionNorm,
        rmsNormEps,
        weight,
        qkvBias,
        positions,
        kvSlot,
        rope,
        kv,
        blockStride,
        blockSize,
        tokens,
        hiddenSize,
        heads,
        kvHeads,
        headDim,
      )
      takeBranch(stream)
      return
    }
    this.#normed(stream, attentionNorm, tokens)
    kernels.matmul(qkv, normed, weight, qkvBias, tokens, width, hiddenSize, this.#x)
    kernels.rope(qkv, positions, rope, tokens, heads, kvHeads, headDim)
    kernels.kvStore(qkv, kvSlot, kv, blockStride, blockSize, tokens, heads, kvHeads, headDim)
  }

  /** gated [T, f] = silu(gate) * up; the branch is added to the stream. */
  #mlpInput(layer: number, stream: Stream, tokens: number): void {
    const { kernels } = this
    const { hiddenSize: d, intermediateSize: f, rmsNormEps } = this.config
    const { gated, normed, gateUp } = this.#activations
    const { gateUp: weight, mlpNorm } = this.weights.layers[layer]!
    if (this.fused) {
      const { now, next, branch } = stream
      kernels.mlpInput(gated, next, normed, gateUp, now, branch, mlpNorm, rmsNormEps, weight, tokens, d, f)
      takeBranch(stream)
      return
    }
    this.#normed(stream, mlpNorm, tokens)
    kernels.matmul(gateUp, normed, weight, 0, tokens, 2 * f, d, this.#x)
    kernels.silu(gated, gateUp, tokens, f)
    kernels.mul(gated, gateUp, tokens, f)
  }

  /** normed = rmsnorm(stream) * weight, after the branch has been added to the stream. */
  #normed(stream: Stream, weight: Address, tokens: number): void {
    const { normed } = this.#activations
    const { hiddenSize, rmsNormEps } = this.config
    const { now, branch } = stream
    stream.branch = 0
    if (this.fused && branch !== 0) {
      this.kernels.addRmsnorm(normed, now, now, branch, weight, tokens, hiddenSize, rmsNormEps)
      return
    }
    if (branch !== 0) this.kernels.add(now, branch, tokens, hiddenSize)
    this.kernels.rmsnorm(normed, now, weight, tokens, hiddenSize, rmsNormEps)
  }
}

/** The residual stream x [T, d] while a step is enqueued: where it stands, where the next sum goes, and what is still to be added (0: nothing). */
interface Stream {
  now: Address
  next: Address
  branch: Address
}

/** After a fused operation that has written now + branch to next. */
function takeBranch(stream: Stream): void {
  if (stream.branch === 0) return
  const { now, next } = stream
  Object.assign(stream, { now: next, next: now, branch: 0 })
}
