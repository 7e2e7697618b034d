import { SLOT } from '../../kernels/binding.js'
import { SEQUENCE_STATUS, type StepPlan } from '../engine.js'
import { addChange, addRow, clearPlan } from '../plan.js'
import { SlotPool } from '../slot-pool.js'
import { writeSamplingState } from '../slot-state.js'
import type { PagedSequence } from './sequence.js'
import { SequenceMemory } from './sequence-memory.js'
import { WaitingQueue } from './waiting-queue.js'

export interface SchedulerOptions {
  /** Usable blocks. */
  blockCount: number
  blockSize: number
  maxModelLen: number
  maxNumSeqs: number
  maxNumBatchedTokens: number
  /** Most prompt tokens of one sequence in a step; 0: no limit. */
  longPrefillTokenThreshold: number
  enableChunkedPrefill: boolean
  enablePrefixCaching: boolean
  schedulingPolicy: 'fcfs' | 'priority'
}

/** Share of the blocks that admission leaves free, so that running sequences can grow a while before someone is preempted. */
const WATERMARK = 0.01

/** Admissions whose whole slot state and block table fit one plan beside the growth of all running sequences. */
const FULL_TABLES = 4

/** Block-table entries of one slot. */
export function blocksPerSequence(options: Pick<SchedulerOptions, 'maxModelLen' | 'blockSize'>): number {
  return Math.ceil(options.maxModelLen / options.blockSize)
}

/** Slot-table changes a plan of this scheduler needs room for. */
export function maxChanges(options: SchedulerOptions): number {
  const growth = options.maxNumSeqs + Math.ceil(options.maxNumBatchedTokens / options.blockSize)
  return growth + FULL_TABLES * (SLOT.blocks + blocksPerSequence(options))
}

/**
 * Continuous batching with one token budget, the semantics of vLLM V1 (vllm/v1/core/sched/scheduler.py): running sequences first,
 * chunked prefill, admission while nobody was preempted, preemption by recompute. One schedule() allocates nothing once its pools
 * have grown.
 */
export class Scheduler {
  readonly memory: SequenceMemory
  readonly waiting: WaitingQueue
  /** In order of admission. */
  readonly running: PagedSequence[] = []
  readonly slots: SlotPool
  readonly slotStride: number
  readonly #options: SchedulerOptions
  readonly #maxChanges: number
  readonly #chunkLimit: number
  readonly #watermark: number
  preemptions = 0

  constructor(options: SchedulerOptions) {
    this.#options = options
    this.memory = new SequenceMemory(options.blockCount, options.blockSize, options.enablePrefixCaching)
    this.waiting = new WaitingQueue(options.schedulingPolicy)
    this.slots = new SlotPool(options.maxNumSeqs)
    this.slotStride = SLOT.blocks + blocksPerSequence(options)
    this.#maxChanges = maxChanges(options)
    this.#chunkLimit =
      options.longPrefillTokenThreshold > 0 ? options.longPrefillTokenThreshold : Number.MAX_SAFE_INTEGER
    this.#watermark = Math.ceil(WATERMARK * options.blockCount)
  }

  /** Fills the plan of the next step; false: nothing can run now. */
  schedule(plan: StepPlan, nowNs: number): boolean {
    clearPlan(plan)
    const before = this.preemptions
    const budget = this.#grantRunning(this.#options.maxNumBatchedTokens)
    plan.preemptions = this.preemptions - before
    this.#emitRunning(plan)
    if (plan.preemptions === 0) this.#admitWaiting(plan, budget, nowNs)
    return plan.rows > 0
  }

  /** Takes a sequence out, wherever it is; its blocks and its slot are free. */
  remove(sequence: PagedSequence): void {
    if (sequence.heapIndex >= 0) this.waiting.remove(sequence)
    else this.#leaveRunning(sequence)
    sequence.status = SEQUENCE_STATUS.finished
  }

  /** Grants tokens and blocks to running sequences, in order; returns the budget left. */
  #grantRunning(start: number): number {
    const running = this.running
    let budget = start
    for (let i = 0; i < running.length; i++) running[i]!.planned = 0
    for (let i = 0; i < running.length && budget > 0; i++) {
      const sequence = running[i]!
      const wanted = sequence.saturated ? 0 : sequence.length + sequence.inFlight - sequence.computed
      const tokens = Math.min(wanted, this.#chunkLimit, budget)
      if (tokens === 0) continue
      while (sequence.status === SEQUENCE_STATUS.running && !this.memory.grow(sequence, sequence.computed + tokens)) {
        const victim = this.#victim()
        if (running.indexOf(victim) <= i) i--
        budget += victim.planned
        this.#preempt(victim)
      }
      if (sequence.status !== SEQUENCE_STATUS.running) continue
      sequence.planned = tokens
      budget -= tokens
    }
    return budget
  }

  /** Rows of the running sequences: those that decode first. */
  #emitRunning(plan: StepPlan): void {
    const running = this.running
    for (let i = 0; i < running.length; i++) {
      const sequence = running[i]!
      if (sequence.planned > 0 && sequence.computed >= sequence.uploadEnd) this.#emit(plan, sequence)
    }
    plan.decodeRows = plan.rows
    for (let i = 0; i < running.length; i++) if (running[i]!.planned > 0) this.#emit(plan, running[i]!)
  }

  /** Admits from the head of the waiting queue; nobody overtakes a head that does not fit. */
  #admitWaiting(plan: StepPlan, start: number, nowNs: number): void {
    const { maxNumSeqs, enableChunkedPrefill } = this.#options
    let budget = start
    while (budget > 0 && this.running.length < maxNumSeqs) {
      const sequence = this.waiting.peek()
      if (sequence === null || sequence.inFlight > 0) return
      if (plan.changes + this.slotStride > this.#maxChanges) return
      const hit = this.memory.findPrefix(sequence)
      const missing = sequence.length - hit
      if (!enableChunkedPrefill && missing > budget) return
      const tokens = Math.min(missing, this.#chunkLimit, budget)
      const watermark = this.running.length === 0 ? 0 : this.#watermark
      if (!this.memory.admit(sequence, hit, hit + tokens, watermark)) return
      this.#enter(plan, sequence, hit, nowNs)
      sequence.planned = tokens
      budget -= tokens
      this.#emit(plan, sequence)
    }
  }

  #enter(plan: StepPlan, sequence: PagedSequence, hit: number, nowNs: number): void {
    this.waiting.remove(sequence)
    this.running.push(sequence)
    sequence.status = SEQUENCE_STATUS.running
    sequence.slot = this.slots.take()
    sequence.computed = hit
    sequence.uploadEnd = sequence.length
    writeSamplingState(plan, sequence.slot, this.slotStride, sequence)
    if (sequence.scheduledNs > 0) return
    sequence.scheduledNs = nowNs
    sequence.cachedTokens = hit
    plan.cachedTokens += hit
  }

  /** One row: the granted tokens count as computed from here on, and a token is on the way when none is left unknown. */
  #emit(plan: StepPlan, sequence: PagedSequence): void {
    const { computed, planned, slot } = sequence
    const upload = computed < sequence.uploadEnd
    const sample = computed + planned === sequence.length + sequence.inFlight
    const table = slot * this.slotStride + SLOT.blocks
    while (sequence.blocksOnDevice < sequence.blockCount) {
      const index = sequence.blocksOnDevice++
      addChange(plan, table + index, sequence.blocks[index]!)
    }
    addRow(plan, sequence, slot, computed, planned, sample, upload)
    if (upload) plan.prefillTokens += planned
    else plan.decodeTokens += planned
    sequence.computed = computed + planned
    sequence.planned = 0
    if (sample) sequence.inFlight++
    this.memory.publish(sequence, Math.min(sequence.computed, sequence.length))
  }

  /** Whose turn it is to give way: under priority the last to be served, under FCFS the last admitted. */
  #victim(): PagedSequence {
    const running = this.running
    let victim = running[running.length - 1]!
    if (this.#options.schedulingPolicy === 'fcfs') return victim
    for (let i = running.length - 2; i >= 0; i--) if (this.waiting.before(victim, running[i]!)) victim = running[i]!
    return victim
  }

  /** By recompute: its tokens are kept (one in flight arrives while it waits), its keys and values are not. */
  #preempt(sequence: PagedSequence): void {
    this.#leaveRunning(sequence)
    sequence.status = SEQUENCE_STATUS.waiting
    sequence.computed = 0
    sequence.planned = 0
    sequence.preemptions++
    this.preemptions++
    this.waiting.push(sequence)
  }

  #leaveRunning(sequence: PagedSequence): void {
    const running = this.running
    const index = running.indexOf(sequence)
    for (let i = index; i + 1 < running.length; i++) running[i] = running[i + 1]!
    running.length--
    this.memory.free(sequence)
    this.slots.give(sequence.slot)
    sequence.slot = 0
  }
}
