import type { ModelConfig, RopeScaling } from './config.js'

/**
 * Rotary position embedding (Su et al., arXiv 2104.09864) as a table f32 [positions, D]: D/2 cosines, then D/2 sines of each
 * position. Angles are rounded to f32 before the cosine, as Transformers computes them.
 */
export function ropeTable(config: ModelConfig, positions: number): Float32Array {
  const half = config.headDim / 2
  const frequencies = scaleFrequencies(inverseFrequencies(config), config.ropeScaling)
  const table = new Float32Array(positions * config.headDim)
  for (let position = 0; position < positions; position++) {
    const row = position * config.headDim
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * frequencies[i]!)
      table[row + i] = Math.cos(angle)
      table[row + half + i] = Math.sin(angle)
    }
  }
  return table
}

/** theta^(-2i / D), i < D/2. */
function inverseFrequencies(config: ModelConfig): Float32Array {
  const { headDim, ropeTheta } = config
  return Float32Array.from({ length: headDim / 2 }, (_, i) => 1 / ropeTheta ** ((2 * i) / headDim))
}

function scaleFrequencies(frequencies: Float32Array, scaling: RopeScaling | null): Float32Array {
  if (scaling === null) return frequencies
  switch (scaling.type) {
    case 'linear':
      return frequencies.map((frequency) => frequency / scaling.factor)
    case 'divisors':
      return frequencies.map((frequency, i) => frequency / scaling.divisors[i]!)
    case 'llama3':
      return frequencies.map((frequency) => scaleLlama3(frequency, scaling))
    default:
      return scaling satisfies never
  }
}

/**
 * Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between blended (github.com/meta-llama/llama-models,
 * apply_scaling; the same formula in Transformers' modeling_rope_utils.py).
 */
function scaleLlama3(frequency: number, scaling: Extract<RopeScaling, { type: 'llama3' }>): number {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositions } = scaling
  const wavelength = (2 * Math.PI) / frequency
  if (wavelength < originalMaxPositions / highFreqFactor) return frequency
  if (wavelength > originalMaxPositions / lowFreqFactor) return frequency / factor
  const smooth = (originalMaxPositions / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor)
  return ((1 - smooth) * frequency) / factor + smooth * frequency
}
