import type { Address } from '../../kernels/binding.js'

/** Device addresses of one decoder's weights. Matrices are [N, K] in the backend's layout, vectors of the weight type. */
export interface ModelWeights {
  /** [V, d] */
  embedding: Address
  /** [V, d]; the embedding's address when tied. */
  head: Address
  /** [d] */
  finalNorm: Address
  layers: LayerWeights[]
  /** Device bytes held. */
  bytes: number
  /** SHA-256 of the file, of the sorted shard hashes, or of the seed and dimensions. */
  sha256: string
  provenance: string
}

export interface LayerWeights {
  /** [d] each */
  attentionNorm: Address
  mlpNorm: Address
  /** [(H + 2G) D, d]: q, k, v rows in order. */
  qkv: Address
  /** [(H + 2G) D], or 0: none. */
  qkvBias: Address
  /** [d, H D] */
  output: Address
  /** [2f, d]: gate rows, then up rows. */
  gateUp: Address
  /** [d, f] */
  down: Address
}
