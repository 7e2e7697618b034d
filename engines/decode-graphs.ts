import type { GraphId } from '../kernels/binding.js'
import type { StepPlan } from './engine.js'
import type { Llama, StepBuffers, StepShape } from './model/llama.js'

/** Batch sizes captured: 1, 2, 4, then 8 to 256 by 8, as far as `maxRows`, which is always one of them unless beyond 256. */
export function decodeBuckets(maxRows: number): number[] {
  const top = Math.min(maxRows, 256)
  const buckets = [1, 2, 4]
  for (let rows = 8; rows <= 256; rows += 8) buckets.push(rows)
  const within = buckets.filter((rows) => rows < top)
  return [...within, top]
}

/**
 * A decode step of B rows (one sampled token each), captured once per bucket and sampler (argmax alone, or all of it) and replayed by
 * one call. Lengths, slots and sampling state are read from device buffers; the staging block is copied outside the graph.
 */
export class DecodeGraphs {
  readonly #llama: Llama
  readonly #buffers: StepBuffers
  readonly #maxKv: number
  #buckets: number[] = []
  readonly #greedy = new Map<number, GraphId>()
  readonly #sampling = new Map<number, GraphId>()

  constructor(llama: Llama, buffers: StepBuffers, maxKv: number) {
    this.#llama = llama
    this.#buffers = buffers
    this.#maxKv = maxKv
  }

  /** Captures both variants of each bucket, the largest first; `stage` uploads a step of that many dummy rows. */
  capture(buckets: readonly number[], progress: (line: string) => void, stage: (bucket: number) => void): void {
    this.#buckets = [...buckets].sort((a, b) => a - b)
    for (const [done, bucket] of [...this.#buckets].reverse().entries()) {
      progress(`capturing decode graphs ${done + 1}/${buckets.length} (batch ${bucket})`)
      stage(bucket)
      this.#greedy.set(bucket, this.#captureOne(bucket, true))
      this.#sampling.set(bucket, this.#captureOne(bucket, false))
    }
  }

  /** The smallest captured bucket that holds this step, or 0: it runs eagerly. */
  bucketFor(plan: StepPlan, shape: StepShape): number {
    if (plan.decodeRows !== plan.rows || plan.samples !== plan.rows || shape.topLogprobs >= 0) return 0
    for (let i = 0; i < this.#buckets.length; i++) if (this.#buckets[i]! >= plan.rows) return this.#buckets[i]!
    return 0
  }

  launch(bucket: number, greedyOnly: boolean): void {
    this.#llama.kernels.graphLaunch((greedyOnly ? this.#greedy : this.#sampling).get(bucket)!)
  }

  destroy(): void {
    for (const graph of [...this.#greedy.values(), ...this.#sampling.values()]) this.#llama.kernels.graphDestroy(graph)
    this.#buckets = []
  }

  /** Runs the step eagerly once, so that nothing is set up for the first time inside the capture. */
  #captureOne(bucket: number, greedyOnly: boolean): GraphId {
    const { kernels } = this.#llama
    const maxKv = this.#maxKv
    const shape = {
      rows: bucket,
      decodeRows: bucket,
      tokens: bucket,
      samples: bucket,
      maxKv,
      greedyOnly,
      topLogprobs: -1,
    }
    this.#llama.forward(this.#buffers, shape)
    kernels.synchronize()
    kernels.graphBegin()
    this.#llama.forward(this.#buffers, shape)
    return kernels.graphEnd()
  }
}
