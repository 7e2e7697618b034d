import type { ModelDimensions } from './bench-model.js'
import type { Pool } from './bench-pool.js'
import { type Address, DTYPE, type Kernels, SLOT } from './binding.js'

/** One operation at one shape: what it must move and compute, and how to enqueue it once (on other memory each time). */
export interface BenchOperation {
  op: string
  shape: string
  bytes: number
  flops: number
  enqueue: () => void
}

const BLOCK = 16
const DECODE_CONTEXT = 1024
const CHUNK = 2048
const LONG_CONTEXT = 8192

/** Every operation of the forward pass for a step of `tokens` tokens: all of them decoding, or one prompt's. */
export function operations(kernels: Kernels, pool: Pool, model: ModelDimensions, tokens: number): BenchOperation[] {
  const { hidden: d, heads: h, kvHeads: g, headDim, intermediate: f, vocab } = model
  const { activationBytes: x, weightBytes: w, activationDtype } = kernels.info
  const qkv = (h + 2 * g) * headDim
  const t = `T=${tokens}`
  const out = DTYPE[activationDtype]
  const ints = new IntegerInputs(kernels, model, tokens)

  const matmul = (op: string, n: number, k: number, outBytes: number, outDtype: number): BenchOperation => {
    const weightBytes = kernels.weightBytes(n, k)
    return {
      op,
      shape: `M=${tokens} N=${n} K=${k}`,
      bytes: n * k * w + tokens * k * x + tokens * n * outBytes,
      flops: 2 * tokens * n * k,
      enqueue: () =>
        kernels.matmul(
          pool.output(tokens * n * outBytes),
          pool.input(tokens * k * x),
          pool.input(weightBytes),
          0,
          tokens,
          n,
          k,
          outDtype,
        ),
    }
  }
  const row = (op: string, bytes: number, enqueue: () => void): BenchOperation => ({
    op,
    shape: t,
    bytes,
    flops: 0,
    enqueue,
  })

  const list = [
    row('embedding', tokens * d * (w + x), () =>
      kernels.embedding(
        pool.output(tokens * d * x),
        pool.input(kernels.weightBytes(vocab, d)),
        ints.ids,
        tokens,
        vocab,
        d,
      ),
    ),
    row('add_rmsnorm', 4 * tokens * d * x + d * w, () => {
      const width = tokens * d * x
      kernels.addRmsnorm(
        pool.output(width),
        pool.output(width),
        pool.input(width),
        pool.input(width),
        pool.input(d * w),
        tokens,
        d,
        1e-5,
      )
    }),
    matmul('matmul qkv', qkv, d, x, out),
    row('rope_store', tokens * (qkv * x + h * headDim * x + 2 * g * headDim * w), () => {
      const blockStride = 2 * g * BLOCK * headDim * w
      const kv = pool.output(ints.blocks * blockStride)
      kernels.ropeStore(
        pool.output(tokens * qkv * x),
        ints.positions,
        ints.kvSlot,
        ints.rope,
        kv,
        blockStride,
        BLOCK,
        tokens,
        h,
        g,
        headDim,
      )
    }),
    ...attention(kernels, pool, model, tokens),
    matmul('matmul o', d, h * headDim, x, out),
    matmul('matmul gate_up', 2 * f, d, x, out),
    row('silu_mul', 3 * tokens * f * x, () =>
      kernels.siluMul(pool.output(tokens * f * x), pool.input(2 * tokens * f * x), tokens, f),
    ),
    matmul('matmul down', d, f, x, out),
  ]
  if (tokens === 1) list.push(attentionInput(kernels, pool, model, ints))
  if (tokens === 1 || tokens >= 64) list.push(mlpInput(kernels, pool, model, tokens))
  if (tokens > 256) return list // no step samples that many rows
  list.push(matmul('matmul lm_head', vocab, d, 4, DTYPE.f32))
  const workspace = kernels.alloc(kernels.sampleWorkspaceBytes(tokens, vocab))
  const sample = (name: string, greedyOnly: number) =>
    row(name, tokens * vocab * 4, () => {
      // At temperature 1 and without penalties sampling leaves its logits as they were.
      const logits = pool.input(tokens * vocab * 4)
      kernels.sample(
        ...([
          ints.tokens,
          logits,
          ints.rows,
          ints.rows,
          ints.lengths,
          ints.slotTable,
          SLOT.blocks,
          ints.history,
          1,
        ] as const),
        ...([tokens, vocab, greedyOnly, workspace] as const),
      )
    })
  list.push(sample('sample greedy', 1), sample('sample top-p 0.9', 0))
  return list
}

/** Norm, q k v, rotation and cache write of one token, as one operation. */
function attentionInput(kernels: Kernels, pool: Pool, model: ModelDimensions, ints: IntegerInputs): BenchOperation {
  const { hidden: d, heads: h, kvHeads: g, headDim } = model
  const { activationBytes: x, weightBytes: w } = kernels.info
  const qkv = (h + 2 * g) * headDim
  const blockStride = 2 * g * BLOCK * headDim * w
  return {
    ...chain(kernels, 'attention_input', 1, qkv, d, h * headDim * x + 2 * g * headDim * w),
    enqueue: () => {
      const [sum, normed, residual, branch, norm] = stream(kernels, pool, 1, d)
      const weight = pool.input(kernels.weightBytes(qkv, d))
      const cache = pool.output(ints.blocks * blockStride)
      kernels.attentionInput(
        ...([pool.output(qkv * x), sum!, normed!, residual!, branch!, norm!, 1e-5, weight, 0] as const),
        ...([ints.positions, ints.kvSlot, ints.rope, cache, blockStride, BLOCK, 1, d, h, g, headDim] as const),
      )
    },
  }
}

/** Norm, gate and up, activation, as one operation: for one token, and for many, where the product may activate by itself. */
function mlpInput(kernels: Kernels, pool: Pool, model: ModelDimensions, tokens: number): BenchOperation {
  const { hidden: d, intermediate: f } = model
  const { activationBytes: x } = kernels.info
  return {
    ...chain(kernels, 'mlp_input', tokens, 2 * f, d, tokens * f * x),
    enqueue: () => {
      const [sum, normed, residual, branch, norm] = stream(kernels, pool, tokens, d)
      const weight = pool.input(kernels.weightBytes(2 * f, d))
      const [gated, gateUp] = [pool.output(tokens * f * x), pool.output(2 * tokens * f * x)]
      kernels.mlpInput(gated, sum!, normed!, gateUp, residual!, branch!, norm!, 1e-5, weight, tokens, d, f)
    },
  }
}

/** sum, normed, residual, branch [tokens, d] and norm [d]. */
function stream(kernels: Kernels, pool: Pool, tokens: number, d: number): Address[] {
  const bytes = tokens * d * kernels.info.activationBytes
  return [
    pool.output(bytes),
    pool.output(bytes),
    pool.input(bytes),
    pool.input(bytes),
    pool.input(d * kernels.info.weightBytes),
  ]
}

/** A chain's weights [n, d], its sum read and written, and what comes out. */
function chain(kernels: Kernels, op: string, tokens: number, n: number, d: number, outBytes: number) {
  const { activationBytes: x, weightBytes: w } = kernels.info
  return {
    op,
    shape: `T=${tokens} N=${n} K=${d}`,
    bytes: n * d * w + 3 * tokens * d * x + d * w + outBytes,
    flops: 2 * tokens * n * d,
  }
}

/**
 * Decode: each token is a row with 1,024 keys. Prefill (256 tokens and more): the tokens are one prompt; on a GPU also the last chunk of a
 * long prompt, and that prompt whole (a CPU would take seconds each).
 */
function attention(kernels: Kernels, pool: Pool, model: ModelDimensions, tokens: number): BenchOperation[] {
  const list: BenchOperation[] = []
  if (tokens <= 256) list.push(attentionOf(kernels, pool, model, tokens, 1, DECODE_CONTEXT))
  if (tokens >= 256) list.push(attentionOf(kernels, pool, model, 1, tokens, tokens))
  if (tokens === CHUNK && kernels.info.backend === 'cuda') {
    list.push(attentionOf(kernels, pool, model, 1, CHUNK, LONG_CONTEXT))
    list.push(attentionOf(kernels, pool, model, 1, LONG_CONTEXT, LONG_CONTEXT))
  }
  return list
}

function attentionOf(
  kernels: Kernels,
  pool: Pool,
  model: ModelDimensions,
  rows: number,
  queries: number,
  context: number,
): BenchOperation {
  const { heads: h, kvHeads: g, headDim } = model
  const { activationBytes: x, kvBytes } = kernels.info
  const tokens = rows * queries
  const blockStride = 2 * g * BLOCK * headDim * kvBytes
  const perRow = Math.ceil(context / BLOCK)
  // As many different blocks as the pool holds; the longest tables name some twice, far apart.
  const blocks = Math.max(perRow, Math.min(rows * perRow, Math.floor(pool.bytes / 2 / blockStride)))
  const stride = SLOT.blocks + perRow
  const table = new Int32Array(rows * stride)
  for (let r = 0; r < rows; r++) {
    for (let b = 0; b < perRow; b++) table[r * stride + SLOT.blocks + b] = ((r * perRow + b) * 7919) % blocks
  }
  const int = (values: Int32Array) => upload(kernels, values)
  const starts = int(Int32Array.from({ length: rows + 1 }, (_, r) => r * queries))
  const lengths = int(new Int32Array(rows).fill(context))
  const slots = int(Int32Array.from({ length: rows }, (_, r) => r))
  const slotTable = int(table)
  const workspace = kernels.alloc(kernels.attentionWorkspaceBytes(rows, tokens, h, headDim, context))
  const qStride = (h + 2 * g) * headDim
  const kvTokens = rows * context
  const pairs = queries * (context - queries) + (queries * (queries + 1)) / 2
  return {
    op: queries === 1 ? 'attention decode' : 'attention prefill',
    shape: queries === 1 ? `rows=${rows} kv=${context}` : `T=${tokens}${context > queries ? ` kv=${context}` : ''}`,
    bytes: kvTokens * 2 * g * headDim * kvBytes + 2 * tokens * h * headDim * x,
    flops: 4 * rows * pairs * h * headDim,
    enqueue: () =>
      kernels.attention(
        ...([pool.output(tokens * h * headDim * x), pool.input(tokens * qStride * x), qStride] as const),
        ...([pool.input(blocks * blockStride), blockStride, BLOCK, starts, lengths, slots, slotTable, stride] as const),
        ...([
          rows,
          queries === 1 ? rows : 0,
          tokens,
          h,
          g,
          headDim,
          1 / Math.sqrt(headDim),
          context,
          workspace,
        ] as const),
      ),
  }
}

/** Ids, positions, slots and sampling state of a step; small, and hot in any engine. */
class IntegerInputs {
  readonly ids: Address
  readonly positions: Address
  readonly kvSlot: Address
  readonly rope: Address
  readonly rows: Address
  readonly lengths: Address
  readonly slotTable: Address
  readonly history: Address
  readonly tokens: Address
  readonly blocks: number

  constructor(kernels: Kernels, model: ModelDimensions, tokens: number) {
    const sequence = Int32Array.from({ length: tokens }, (_, i) => i)
    this.blocks = Math.ceil(tokens / BLOCK)
    this.ids = upload(
      kernels,
      sequence.map((i) => (i * 7919) % model.vocab),
    )
    this.positions = upload(kernels, sequence)
    this.kvSlot = upload(kernels, sequence)
    this.rows = upload(kernels, sequence)
    this.lengths = upload(kernels, new Int32Array(tokens).fill(100))
    this.rope = upload(kernels, new Float32Array(tokens * model.headDim).fill(Math.SQRT1_2))
    const state = new Float32Array(tokens * SLOT.blocks)
    for (let r = 0; r < tokens; r++) {
      state[r * SLOT.blocks + SLOT.temperature] = 1
      state[r * SLOT.blocks + SLOT.topP] = 0.9
      state[r * SLOT.blocks + SLOT.repetition] = 1
    }
    this.slotTable = upload(kernels, state)
    this.history = upload(kernels, new Int32Array(tokens))
    this.tokens = upload(kernels, new Int32Array(tokens))
  }
}

function upload(kernels: Kernels, values: Int32Array | Float32Array): Address {
  const address = kernels.alloc(values.byteLength)
  kernels.upload(address, values)
  return address
}
