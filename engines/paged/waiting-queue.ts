import type { PagedSequence } from './sequence.js'

/**
 * Who is admitted next: a binary heap on (priority, order of submission). Under FCFS every priority counts as equal; a preempted
 * sequence is older than all that wait, so it comes back to the front by itself. Removal from the middle takes O(log n).
 */
export class WaitingQueue {
  readonly #heap: PagedSequence[] = []

  constructor(readonly policy: 'fcfs' | 'priority') {}

  get size(): number {
    return this.#heap.length
  }
  peek(): PagedSequence | null {
    return this.#heap.length === 0 ? null : this.#heap[0]!
  }

  push(sequence: PagedSequence): void {
    this.#heap.push(sequence)
    this.#place(sequence, this.#heap.length - 1)
    this.#up(sequence.heapIndex)
  }

  remove(sequence: PagedSequence): void {
    const index = sequence.heapIndex
    const last = this.#heap.pop()!
    sequence.heapIndex = -1
    if (last === sequence) return
    this.#place(last, index)
    this.#up(index)
    this.#down(last.heapIndex)
  }

  /** True when `a` is served before `b`. */
  before(a: PagedSequence, b: PagedSequence): boolean {
    if (this.policy === 'priority' && a.request.priority !== b.request.priority) {
      return a.request.priority < b.request.priority
    }
    return a.order < b.order
  }

  #up(start: number): void {
    const sequence = this.#heap[start]!
    let index = start
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!this.before(sequence, this.#heap[parent]!)) break
      this.#place(this.#heap[parent]!, index)
      index = parent
    }
    this.#place(sequence, index)
  }

  #down(start: number): void {
    const heap = this.#heap
    const sequence = heap[start]!
    let index = start
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && this.before(heap[child + 1]!, heap[child]!)) child++
      if (!this.before(heap[child]!, sequence)) break
      this.#place(heap[child]!, index)
      index = child
    }
    this.#place(sequence, index)
  }

  #place(sequence: PagedSequence, index: number): void {
    this.#heap[index] = sequence
    sequence.heapIndex = index
  }
}
