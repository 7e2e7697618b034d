import type { GenerationRequest } from '../engine.js'
import { SequenceState } from '../sequence.js'

/** A sequence of the paged engine: its block table, and what the scheduler notes beside it. */
export class PagedSequence extends SequenceState {
  /** Block ids by position / blockSize; the first `blockCount` are held. */
  blocks = new Int32Array(0)
  blockCount = 0
  /** Entries of the block table that the device's slot table has. */
  blocksOnDevice = 0
  /** Chained hashes of its full blocks; the first `hashCount` are known. They outlive preemption: tokens never change. */
  hashes = new Float64Array(0)
  hashCount = 0
  /** Blocks already offered to the prefix cache. */
  published = 0
  /** Tokens below this position reach the slot's history by upload, later ones by the sampler. */
  uploadEnd = 0
  /** Tokens granted in the step being planned. */
  planned = 0
  /** Order of submission. */
  order = 0
  /** Place in the waiting heap, -1: not there. */
  heapIndex = -1

  beginPaged(request: GenerationRequest, order: number, blockSize: number): void {
    this.begin(request)
    const blocks = Math.ceil(this.tokens.length / blockSize)
    if (this.blocks.length < blocks) {
      this.blocks = new Int32Array(blocks)
      this.hashes = new Float64Array(blocks)
    }
    this.blockCount = 0
    this.blocksOnDevice = 0
    this.hashCount = 0
    this.published = 0
    this.uploadEnd = 0
    this.planned = 0
    this.order = order
    this.heapIndex = -1
  }
}
