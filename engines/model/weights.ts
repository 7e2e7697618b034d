import type { Address, Kernels } from '../../kernels/binding.js'
import { type Checkpoint, tensorOf } from './checkpoint.js'
import { DeviceArena } from './device-arena.js'
import { fingerprint } from './fingerprint.js'
import { type HostMatrix, readMatrix, readVector } from './tensors.js'

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
  /** SHA-256 of the file, of the shards' hashes, or of seed and dimensions. */
  sha256: string
  /** 'real' or 'random (seed N)'. */
  provenance: string
  /** Frees every address above. */
  free(): void
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

/**
 * Loads a checkpoint into device memory, one matrix at a time, so that the host never holds more than the largest.
 * Throws ModelError (a tensor missing or of the wrong shape) and KernelError (out of memory); both leave nothing allocated.
 */
export function loadWeights(kernels: Kernels, checkpoint: Checkpoint): ModelWeights {
  const { config } = checkpoint
  const target = kernels.info.dtype
  const view = (name: string) => tensorOf(checkpoint, name)
  const arena = new DeviceArena(kernels)
  return arena.guard(() => {
    const matrix = (names: string[], n: number, k: number) =>
      loadMatrix(arena, readMatrix(names.map(view), n, k, target))
    const vector = (names: string[], n: number) => arena.vector(readVector(names.map(view), n))
    const { hiddenSize: d, intermediateSize: f, heads, kvHeads, headDim, vocabSize } = config
    const qkvWidth = (heads + 2 * kvHeads) * headDim
    const embedding = matrix(['model.embed_tokens.weight'], vocabSize, d)
    const layers = Array.from({ length: config.layers }, (_, layer): LayerWeights => {
      const prefix = `model.layers.${layer}`
      const qkv = ['q', 'k', 'v'].map((part) => `${prefix}.self_attn.${part}_proj`)
      return {
        attentionNorm: vector([`${prefix}.input_layernorm.weight`], d),
        mlpNorm: vector([`${prefix}.post_attention_layernorm.weight`], d),
        qkv: matrix(
          qkv.map((name) => `${name}.weight`),
          qkvWidth,
          d,
        ),
        qkvBias: config.qkvBias
          ? vector(
              qkv.map((name) => `${name}.bias`),
              qkvWidth,
            )
          : 0,
        output: matrix([`${prefix}.self_attn.o_proj.weight`], d, heads * headDim),
        gateUp: matrix([`${prefix}.mlp.gate_proj.weight`, `${prefix}.mlp.up_proj.weight`], 2 * f, d),
        down: matrix([`${prefix}.mlp.down_proj.weight`], d, f),
      }
    })
    return {
      embedding,
      layers,
      head: config.tiedEmbeddings ? embedding : matrix(['lm_head.weight'], vocabSize, d),
      finalNorm: vector(['model.norm.weight'], d),
      bytes: arena.bytes,
      sha256: fingerprint(checkpoint.files),
      provenance: 'real',
      free: () => arena.free(),
    }
  })
}

function loadMatrix(arena: DeviceArena, matrix: HostMatrix): Address {
  const { data, dtype, n, k } = matrix
  const address = arena.matrix(n, k)
  arena.kernels.weightLoad(address, data, dtype, n, k)
  return address
}
