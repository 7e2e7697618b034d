import type { Address, Kernels } from '../../kernels/binding.js'
import type { ModelConfig } from './config.js'

/** The largest step a forward pass must hold. */
export interface ForwardLimits {
  maxRows: number
  maxTokens: number
  maxSamples: number
  /** The longest cache of any row, in tokens; also the length of the RoPE table. */
  maxKv: number
  /** Room for the log-probabilities of sampled rows that are not greedy (a second copy of the logits). */
  logprobs: boolean
}

/** Alternatives a request may ask for (OpenAI's top_logprobs limit). */
export const MAX_TOP_LOGPROBS = 20

export type Activations = Record<keyof ReturnType<typeof activationSizes>, Address>

/** Bytes of each activation buffer; x = the backend's activation type. */
export function activationSizes(kernels: Kernels, config: ModelConfig, limits: ForwardLimits) {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim, vocabSize } = config
  const { maxRows, maxTokens, maxSamples, maxKv } = limits
  const x = kernels.info.activationBytes
  const logitsBytes = maxSamples * vocabSize * 4
  const logprobBytes = limits.logprobs ? maxSamples * (1 + MAX_TOP_LOGPROBS) * 4 : 0
  return {
    /** x [T, d] */
    residual: maxTokens * hiddenSize * x,
    /** x [T, d]: where the sum of residual and a branch goes */
    residualNext: maxTokens * hiddenSize * x,
    /** x [T, d] */
    normed: maxTokens * hiddenSize * x,
    /** x [T, (H + 2G) D] */
    qkv: maxTokens * (heads + 2 * kvHeads) * headDim * x,
    /** x [T, H D] */
    attended: maxTokens * heads * headDim * x,
    /** x [T, d] */
    projected: maxTokens * hiddenSize * x,
    /** x [T, 2f] */
    gateUp: maxTokens * 2 * intermediateSize * x,
    /** x [T, f] */
    gated: maxTokens * intermediateSize * x,
    /** x [S, H D] */
    gatheredAttended: maxSamples * heads * headDim * x,
    /** x [S, d] */
    gatheredResidual: maxSamples * hiddenSize * x,
    /** f32 [S, V] */
    logits: logitsBytes,
    /** f32 [S, V] */
    rawLogits: limits.logprobs ? logitsBytes : 0,
    /** f32 [S, 1 + top] */
    logprobs: logprobBytes,
    /** int32 [S, 1 + top] */
    logprobTokens: logprobBytes,
    /** f32 [maxKv, D] */
    rope: maxKv * headDim * 4,
    attentionWorkspace: kernels.attentionWorkspaceBytes(maxRows, maxTokens, heads, headDim, maxKv),
    sampleWorkspace: kernels.sampleWorkspaceBytes(maxSamples, vocabSize),
  }
}

/** Device bytes a Llama of these limits holds beside weights and KV cache. */
export function activationBytes(kernels: Kernels, config: ModelConfig, limits: ForwardLimits): number {
  return Object.values(activationSizes(kernels, config, limits)).reduce((sum, bytes) => sum + bytes, 0)
}
