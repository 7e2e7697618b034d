import type { ModelConfig } from '../../engines/model/config.js'
import { kvBytesPerBlock, Llama, type StepBuffers } from '../../engines/model/llama.js'
import type { ModelWeights } from '../../engines/model/weights.js'
import { type Address, type Kernels, SLOT, STEP } from '../../kernels/binding.js'

export interface HarnessOptions {
  maxTokens: number
  blockSize: number
  fused: boolean
}

/** One sequence in slot 0, its blocks in order from block 1: the smallest executor that a forward pass needs. */
export class ForwardHarness {
  readonly #llama: Llama
  readonly #step: StepBuffers
  readonly #allocated: Address[] = []
  readonly #blocks: number
  readonly #sections: ReturnType<typeof stagingSections>

  constructor(
    readonly kernels: Kernels,
    readonly config: ModelConfig,
    weights: ModelWeights,
    readonly options: HarnessOptions,
  ) {
    const { maxTokens, blockSize } = options
    const limits = { maxRows: maxTokens, maxTokens, maxSamples: maxTokens, maxKv: maxTokens, logprobs: true }
    this.#llama = new Llama(kernels, config, weights, limits, options.fused)
    this.#blocks = Math.ceil(maxTokens / blockSize) + 1
    this.#sections = stagingSections(maxTokens, this.#blocks)
    this.#step = this.#buffers()
    this.#initialiseSlot()
  }

  /**
   * f32 [n, V]: the logits behind every token, teacher-forced. `chunks`: the tokens are fed in rows of these lengths, one step
   * each; only the last token of a row has logits, so rows of one token give them all. Default: one step, a row per token.
   */
  logits(tokens: readonly number[], chunks?: readonly number[]): Float32Array[] {
    if (chunks === undefined)
      return this.#run(
        tokens,
        0,
        tokens.map(() => 1),
      )
    let from = 0
    return chunks.flatMap((length) => {
      const rows = this.#run(tokens.slice(from, from + length), from, [length])
      from += length
      return rows
    })
  }

  /** f32 [V]: the logits behind the last token, the chunks before the last without any. */
  lastLogits(tokens: readonly number[], chunks: readonly number[]): Float32Array {
    let from = 0
    for (const length of chunks.slice(0, -1)) {
      this.#run(tokens.slice(from, from + length), from, [length], false)
      from += length
    }
    return this.#run(tokens.slice(from), from, [tokens.length - from])[0]!
  }

  /** The greedy continuation. */
  generate(prompt: readonly number[], count: number): number[] {
    const tokens = [...prompt]
    this.#run(prompt, 0, [prompt.length])
    for (let i = 0; i < count; i++) {
      const sampled = new Int32Array(1)
      this.kernels.download(sampled, this.#step.sampled)
      tokens.push(sampled[0]!)
      if (i + 1 < count) this.#run([sampled[0]!], tokens.length - 1, [1])
    }
    return tokens.slice(prompt.length)
  }

  destroy(): void {
    this.#llama.destroy()
    for (const address of this.#allocated) this.kernels.free(address)
  }

  /** One step: `tokens` at positions from `start`, cut into rows of the given lengths, all of which sample, or none. */
  #run(tokens: readonly number[], start: number, lengths: readonly number[], samples = true): Float32Array[] {
    const sections = this.#sections
    const staging = new Int32Array(sections.total)
    const rows = lengths.length
    staging[STEP.rows] = rows
    staging[STEP.tokens] = tokens.length
    staging[STEP.samples] = samples ? rows : 0
    staging[STEP.changes] = 0
    const decodeRows = lengths.every((length) => length === 1) ? rows : 0
    staging[STEP.decodeRows] = decodeRows
    let at = 0
    lengths.forEach((length, row) => {
      staging[sections.rowSlot + row] = 0
      staging[sections.rowStart + row] = start + at
      staging[sections.rowSource + row] = at
      staging[sections.queryStart + row] = at
      staging[sections.sampleRow + row] = row
      at += length
    })
    staging[sections.queryStart + rows] = at
    staging.set(tokens, sections.tokens)
    this.kernels.upload(this.#step.staging, staging)
    const maxKv = start + tokens.length
    this.#llama.forward(this.#step, {
      rows,
      decodeRows,
      tokens: at,
      samples: samples ? rows : 0,
      maxKv,
      greedyOnly: true,
      topLogprobs: -1,
    })
    if (!samples) return []
    const { vocabSize } = this.config
    const flat = new Float32Array(rows * vocabSize)
    this.kernels.download(flat, this.#llama.logits)
    return lengths.map((_, row) => flat.subarray(row * vocabSize, (row + 1) * vocabSize))
  }

  #buffers(): StepBuffers {
    const { maxTokens, blockSize } = this.options
    const { kernels } = this
    const blockStride = kvBytesPerBlock(this.config, blockSize, kernels.info.kvBytes)
    const slotStride = SLOT.blocks + this.#blocks
    const ints = (count: number) => this.#alloc(count * 4)
    const staging = ints(this.#sections.total)
    return {
      staging,
      queryStart: staging + this.#sections.queryStart * 4,
      rowSlot: staging + this.#sections.rowSlot * 4,
      sampleRow: staging + this.#sections.sampleRow * 4,
      slotTable: ints(slotStride),
      history: ints(maxTokens),
      ids: ints(maxTokens),
      positions: ints(maxTokens),
      kvSlot: ints(maxTokens),
      kvLength: ints(maxTokens),
      sampleIndex: ints(maxTokens),
      sampled: ints(maxTokens),
      kv: this.#alloc(blockStride * this.#blocks),
      blockStride,
      blockSize,
      slotStride,
      historyStride: maxTokens,
      maxRows: maxTokens,
      maxChanges: this.#sections.maxChanges,
      maxTokens,
    }
  }

  /** Greedy sampling state; block i of the sequence is block i + 1 of the pool. */
  #initialiseSlot(): void {
    const slot = new Int32Array(SLOT.blocks + this.#blocks)
    const floats = new Float32Array(slot.buffer)
    floats[SLOT.topP] = 1
    floats[SLOT.repetition] = 1
    slot.fill(-1, SLOT.stop0, SLOT.stop3 + 1)
    for (let i = 0; i + 1 < this.#blocks; i++) slot[SLOT.blocks + i] = i + 1
    this.kernels.upload(this.#step.slotTable, slot)
  }

  #alloc(bytes: number): Address {
    const address = this.kernels.alloc(bytes)
    this.#allocated.push(address)
    return address
  }
}

/** Offsets of the staging block's sections in int32 elements (kernels.h). */
function stagingSections(maxRows: number, maxChanges: number) {
  const rowSlot = STEP.header
  const rowStart = rowSlot + maxRows
  const rowSource = rowStart + maxRows
  const queryStart = rowSource + maxRows
  const sampleRow = queryStart + maxRows + 1
  const changes = sampleRow + maxRows
  const tokens = changes + 2 * maxChanges
  return { rowSlot, rowStart, rowSource, queryStart, sampleRow, changes, tokens, total: tokens + maxRows, maxChanges }
}
