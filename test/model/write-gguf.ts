import { writeFileSync } from 'node:fs'
import type { Checkpoint } from '../../engines/model/checkpoint.js'
import type { TensorView } from '../../engines/model/tensors.js'
import { GgufWriter } from './model-files.js'

const LAYER_NAMES: [RegExp, string][] = [
  [/input_layernorm/, 'attn_norm'],
  [/self_attn\.q_proj/, 'attn_q'],
  [/self_attn\.k_proj/, 'attn_k'],
  [/self_attn\.v_proj/, 'attn_v'],
  [/self_attn\.o_proj/, 'attn_output'],
  [/post_attention_layernorm/, 'ffn_norm'],
  [/mlp\.gate_proj/, 'ffn_gate'],
  [/mlp\.up_proj/, 'ffn_up'],
  [/mlp\.down_proj/, 'ffn_down'],
]

/** Writes a checkpoint of bf16 tensors as llama.cpp's converter would: other names, rotary pairs of the llama architecture interleaved. */
export function writeGguf(checkpoint: Checkpoint, path: string): string {
  const { config } = checkpoint
  const arch = config.architecture
  const writer = new GgufWriter({ tensors: BigInt(checkpoint.tensors.size), keys: 10n })
    .text('general.architecture', arch)
    .number(`${arch}.block_count`, config.layers)
    .number(`${arch}.context_length`, config.maxPositions)
    .number(`${arch}.embedding_length`, config.hiddenSize)
    .number(`${arch}.feed_forward_length`, config.intermediateSize)
    .number(`${arch}.attention.head_count`, config.heads)
    .number(`${arch}.attention.head_count_kv`, config.kvHeads)
    .number(`${arch}.attention.key_length`, config.headDim)
    .float(`${arch}.rope.freq_base`, config.ropeTheta)
    .float(`${arch}.attention.layer_norm_rms_epsilon`, config.rmsNormEps)
  const data: Buffer[] = []
  let offset = 0
  for (const view of checkpoint.tensors.values()) {
    writer.tensor(ggufName(view.name), [...view.shape].reverse().map(BigInt), 30, BigInt(offset))
    const bytes = interleaved(view, headsOf(view.name, checkpoint))
    data.push(bytes, Buffer.alloc((32 - (bytes.length % 32)) % 32))
    offset += bytes.length + data.at(-1)!.length
  }
  writeFileSync(path, Buffer.concat([writer.file(), ...data]))
  return path
}

function ggufName(name: string): string {
  if (name === 'model.embed_tokens.weight') return 'token_embd.weight'
  if (name === 'model.norm.weight') return 'output_norm.weight'
  if (name === 'lm_head.weight') return 'output.weight'
  const [, layer, kind] = /^model\.layers\.(\d+)\..*\.(weight|bias)$/.exec(name)!
  return `blk.${layer}.${LAYER_NAMES.find(([pattern]) => pattern.test(name))![1]}.${kind}`
}

function headsOf(name: string, { config }: Checkpoint): number {
  if (config.architecture !== 'llama') return 0
  return /q_proj/.test(name) ? config.heads : /k_proj/.test(name) ? config.kvHeads : 0
}

/** reshape(heads, 2, D/2, ..).swapaxes(1, 2), as convert_hf_to_gguf.py permutes. */
function interleaved(view: TensorView, heads: number): Buffer {
  const bytes = Buffer.from(view.file.read(view.offset, view.byteLength, view.name))
  if (heads === 0) return bytes
  const rows = view.shape[0]!
  const rowBytes = bytes.length / rows
  const headDim = rows / heads
  const order = Array.from({ length: rows }, (_, row) => {
    const within = row % headDim
    return row - within + (within % 2) * (headDim / 2) + Math.floor(within / 2)
  })
  return Buffer.concat(order.map((row) => bytes.subarray(row * rowBytes, (row + 1) * rowBytes)))
}
