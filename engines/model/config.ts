/** The dimensions and constants of one decoder of the Llama family, whatever file they came from. */
export interface ModelConfig {
  architecture: 'llama' | 'qwen2'
  /** d: width of the residual stream. */
  hiddenSize: number
  /** f: width of the MLP. */
  intermediateSize: number
  /** L. */
  layers: number
  /** H: query heads. */
  heads: number
  /** G: key/value heads; H is a multiple of it. */
  kvHeads: number
  /** D: 64 or 128. */
  headDim: number
  /** V. */
  vocabSize: number
  /** The longest context the model was made for. */
  maxPositions: number
  rmsNormEps: number
  ropeTheta: number
  ropeScaling: RopeScaling | null
  /** Biases on the query, key and value projections (Qwen2; Llama with attention_bias). */
  qkvBias: boolean
  /** The output matrix is the embedding table; it is held once. */
  tiedEmbeddings: boolean
  bosTokenId: number | null
  eosTokenIds: number[]
}

export type RopeScaling =
  | { type: 'linear'; factor: number }
  | { type: 'llama3'; factor: number; lowFreqFactor: number; highFreqFactor: number; originalMaxPositions: number }
  /** GGUF writes the divisors of the D/2 frequencies as a tensor (rope_freqs.weight). */
  | { type: 'divisors'; divisors: number[] }
