import type { ModelConfig } from './config.js'

/**
 * Bytes and operations of one model, as the physical limit needs them. d hidden, f MLP, L layers, H and G query and key/value heads
 * of size D, V vocabulary. Per layer w = 2 d H D + 2 d G D + 3 d f weights (Kaplan et al. 2020, arXiv 2001.08361, section 2.1,
 * extended to grouped-query attention and a gated MLP).
 */
export function layerWeights(config: ModelConfig): number {
  const { hiddenSize: d, intermediateSize: f, heads, kvHeads, headDim } = config
  return 2 * d * heads * headDim + 2 * d * kvHeads * headDim + 3 * d * f
}

/** All parameters: layers, embedding, output matrix (once when tied), norms and biases. */
export function parameterCount(config: ModelConfig): number {
  const { hiddenSize: d, layers, vocabSize, heads, kvHeads, headDim } = config
  const bias = config.qkvBias ? (heads + 2 * kvHeads) * headDim : 0
  return layers * (layerWeights(config) + 2 * d + bias) + (config.tiedEmbeddings ? 1 : 2) * vocabSize * d + d
}

/** Bytes of weights read by one decode step, whatever its batch: every layer and the output matrix; the embedding is only gathered. */
export function decodeWeightBytes(config: ModelConfig, weightBytes: number): number {
  return weightBytes * (config.layers * layerWeights(config) + config.vocabSize * config.hiddenSize)
}

/** Bytes of keys and values one token adds: 2 L G D elements. */
export function kvBytesPerToken(config: ModelConfig, kvBytes: number): number {
  return 2 * config.layers * config.kvHeads * config.headDim * kvBytes
}

/** Bytes of one block of `blockSize` tokens over all layers: [layer][k, v][G][blockSize][D]. Also the block stride of the pool. */
export function kvBytesPerBlock(config: ModelConfig, blockSize: number, kvBytes: number): number {
  return blockSize * kvBytesPerToken(config, kvBytes)
}

/** FLOP of one token that sees `contextTokens` tokens: 2 per weight (layers and output matrix) + 4 L H D per context token. */
export function flopsPerToken(config: ModelConfig, contextTokens = 0): number {
  const { layers, heads, headDim, vocabSize, hiddenSize } = config
  return 2 * (layers * layerWeights(config) + vocabSize * hiddenSize) + 4 * layers * heads * headDim * contextTokens
}
