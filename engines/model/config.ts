import { ModelError } from './errors.js'

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
  /** Biases on the query, key and value projections (Qwen2). */
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

/** Bounds far above any dense model of the family. */
const BOUNDS = {
  hiddenSize: 65_536,
  intermediateSize: 1_048_576,
  layers: 1_024,
  heads: 1_024,
  kvHeads: 1_024,
  vocabSize: 4_194_304,
  maxPositions: 16_777_216,
} as const

/** Throws ModelError config_malformed or unsupported_feature when no forward pass can run these dimensions. */
export function checkConfig(config: ModelConfig, path: string): ModelConfig {
  for (const [field, bound] of Object.entries(BOUNDS)) {
    const value = config[field as keyof typeof BOUNDS]
    if (!Number.isSafeInteger(value) || value < 1 || value > bound) {
      throw new ModelError('config_malformed', `${path}: ${field} is ${value}, must be 1 to ${bound}`, field)
    }
  }
  const { heads, kvHeads, headDim, rmsNormEps, ropeTheta } = config
  if (heads % kvHeads !== 0) {
    throw new ModelError(
      'config_malformed',
      `${path}: ${heads} query heads do not share ${kvHeads} key/value heads`,
      'kvHeads',
    )
  }
  if (headDim !== 64 && headDim !== 128) {
    throw new ModelError(
      'unsupported_feature',
      `${path}: head dimension ${headDim}; the kernels have 64 and 128`,
      'headDim',
    )
  }
  if (!(rmsNormEps > 0 && rmsNormEps < 1)) {
    throw new ModelError('config_malformed', `${path}: rms_norm_eps is ${rmsNormEps}`, 'rmsNormEps')
  }
  if (!(ropeTheta > 1 && Number.isFinite(ropeTheta))) {
    throw new ModelError('config_malformed', `${path}: rope_theta is ${ropeTheta}`, 'ropeTheta')
  }
  checkScaling(config, path)
  return config
}

function checkScaling({ ropeScaling, headDim }: ModelConfig, path: string): void {
  if (ropeScaling === null) return
  const numbers = Object.values(ropeScaling)
    .flat()
    .filter((value) => typeof value !== 'string')
  const counts = ropeScaling.type !== 'divisors' || ropeScaling.divisors.length === headDim / 2
  if (counts && numbers.every((value) => Number.isFinite(value) && value > 0)) return
  throw new ModelError('config_malformed', `${path}: the RoPE scaling is impossible`, 'ropeScaling')
}
