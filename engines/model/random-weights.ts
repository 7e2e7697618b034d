import { createHash } from 'node:crypto'
import type { Kernels } from '../../kernels/binding.js'
import type { ModelConfig } from './config.js'
import { DeviceArena } from './device-arena.js'
import type { LayerWeights, ModelWeights } from './weights.js'

/** Standard deviation of the weights, as Llama and GPT-2 are initialised. */
const STANDARD_DEVIATION = 0.02
/**
 * Of the embedding, and the factor of the matrices that write to the residual stream: each layer then adds a few per cent to a stream
 * of unit variance, as in a trained model. With an embedding of 0.02 the branches drown it, every layer amplifies the rounding of the
 * one before (bf16 is 6 % from f32 after 32 layers, in any implementation), and comparing two implementations compares noise.
 */
const EMBEDDING_DEVIATION = 1
const BRANCH_FACTOR = 0.5

/**
 * Seeded random weights, made on the device, equal on every backend. Matrices that write to the residual stream are scaled by
 * 1 / sqrt(2 L) (Radford et al. 2019, GPT-2, section 2.3) and BRANCH_FACTOR; norms are 1. A tied output matrix keeps the small scale.
 * Throws KernelError (out of memory), then nothing stays allocated.
 */
export function randomWeights(kernels: Kernels, config: ModelConfig, seed: number): ModelWeights {
  const arena = new DeviceArena(kernels)
  return arena.guard(() => {
    const { hiddenSize: d, intermediateSize: f, layers, heads, kvHeads, headDim, vocabSize } = config
    const qkvWidth = (heads + 2 * kvHeads) * headDim
    const residualScale = (BRANCH_FACTOR * STANDARD_DEVIATION) / Math.sqrt(2 * layers)
    const ones = new Float32Array(d).fill(1)
    let stream = 0
    const matrix = (n: number, k: number, scale: number) => {
      const address = arena.matrix(n, k)
      kernels.weightRandom(address, n, k, streamSeed(seed, stream++), scale)
      return address
    }
    const embedding = matrix(vocabSize, d, config.tiedEmbeddings ? STANDARD_DEVIATION : EMBEDDING_DEVIATION)
    const layerWeights = Array.from(
      { length: layers },
      (): LayerWeights => ({
        attentionNorm: arena.vector(ones),
        mlpNorm: arena.vector(ones),
        qkv: matrix(qkvWidth, d, STANDARD_DEVIATION),
        qkvBias: config.qkvBias ? arena.vector(randomVector(qkvWidth, streamSeed(seed, stream++))) : 0,
        output: matrix(d, heads * headDim, residualScale),
        gateUp: matrix(2 * f, d, STANDARD_DEVIATION),
        down: matrix(d, f, residualScale),
      }),
    )
    return {
      embedding,
      layers: layerWeights,
      head: config.tiedEmbeddings ? embedding : matrix(vocabSize, d, STANDARD_DEVIATION),
      finalNorm: arena.vector(ones),
      bytes: arena.bytes,
      sha256: randomFingerprint(config, seed),
      provenance: `random (seed ${seed})`,
      free: () => arena.free(),
    }
  })
}

/** SHA-256 of seed, scales and dimensions: what stands for the hash of a weight file. */
export function randomFingerprint(config: ModelConfig, seed: number): string {
  return createHash('sha256')
    .update(JSON.stringify({ seed, scales: [STANDARD_DEVIATION, EMBEDDING_DEVIATION, BRANCH_FACTOR], config }))
    .digest('hex')
}

/** An int32 seed for each tensor of the model, in order. */
function streamSeed(seed: number, stream: number): number {
  return (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b)) | 0
}

/** Uniform with the standard deviation above, by a 32-bit xorshift (Marsaglia 2003). */
function randomVector(length: number, seed: number): Float32Array {
  let state = seed || 1
  return Float32Array.from({ length }, () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return STANDARD_DEVIATION * Math.sqrt(3) * (((state >>> 0) / 2 ** 32) * 2 - 1)
  })
}
