import { nowNs } from '../clock.js'
import { ArrivalClock } from './arrival-clock.js'
import { CLOCK, COUNTER, type WorkerSetup } from './messages.js'
import type { Sender } from './sender.js'

/**
 * Decides when each session of the plan is sent: by free slots (closed loop; slot n opens with session n, at its due time; from then on all workers
 * take from one counter, so the plan's order holds) or by its due time (open loop; session n belongs to worker n mod workers). Rows it never sends are left to the main thread to account for.
 */
export class Dealer {
  readonly #counters: Int32Array
  readonly #clock: BigInt64Array
  #running = 0
  #stopped = false
  #waits = new Set<ArrivalClock>()
  #resolve: () => void = () => {}

  constructor(
    readonly setup: WorkerSetup,
    readonly sender: Sender,
    readonly onDropped: (index: number, intendedNs: number) => void,
  ) {
    this.#counters = new Int32Array(setup.counters)
    this.#clock = new BigInt64Array(setup.clock)
  }

  /** Resolves when every session this worker took has ended. */
  run(startNs: number): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    return new Promise((resolve) => {
      this.#resolve = resolve
      const { arrival } = this.setup
      this.#running = 1
      if (arrival.kind === 'open') this.#runOpen(startNs, arrival.cap)
      else this.#runClosed(startNs, arrival.slots)
    })
  }

  /** Sends nothing more; what is in flight is the caller's to end. */
  stop(): void {
    this.#stopped = true
    for (const wait of this.#waits) wait.stop()
    this.#running -= this.#waits.size
    this.#waits.clear()
    if (this.#running <= 0) this.#resolve()
  }

  /** A slot fell free at `freeNs`. */
  #takeNext(freeNs: number): void {
    this.#take(Atomics.add(this.#counters, COUNTER.nextSession, 1), freeNs)
  }

  #take(session: number, freeNs: number): void {
    const first = session < this.#sessions ? this.setup.sessions[session]! : null
    if (this.#stopped || first === null || this.#isOver(first, freeNs)) {
      this.#leave()
      return
    }
    this.#think(first, freeNs, (dueNs) =>
      this.#runTurns(first, this.setup.sessions[session + 1]!, dueNs, (endNs) => this.#takeNext(endNs)),
    )
  }

  /** Opens this worker's slots, each with the session of its number. */
  #runClosed(startNs: number, slots: number): void {
    const { worker, workers, sessions, rows } = this.setup
    const session = (slot: number) => worker + slot * workers
    const isLast = (slot: number) => slot >= slots || session(slot) >= this.#sessions
    const openNs = (slot: number) => startNs + (rows[sessions[session(slot)]!]!.dueNs ?? 0)
    const clock = new ArrivalClock(
      (slot) => (isLast(slot) ? null : openNs(slot)),
      (slot) => {
        this.#running++
        this.#take(session(slot), openNs(slot))
        if (isLast(slot + 1)) this.#leaveClock(clock)
      },
    )
    this.#waits.add(clock)
    if (isLast(0)) this.#leaveClock(clock)
    else clock.start()
  }

  #runOpen(startNs: number, cap: number): void {
    const { worker, workers, sessions, rows } = this.setup
    const session = (n: number) => worker + n * workers
    const dueNs = (n: number) => (session(n) < this.#sessions ? startNs + rows[sessions[session(n)]!]!.dueNs! : null)
    const clock = new ArrivalClock(dueNs, (n) => {
      const first = sessions[session(n)]!
      const intendedNs = dueNs(n)!
      this.#running++
      if (this.#isOver(first, intendedNs)) this.#leave()
      else if (Atomics.load(this.#counters, COUNTER.inFlight) >= cap) {
        Atomics.add(this.#counters, COUNTER.dropped, 1)
        for (let row = first; row < sessions[session(n) + 1]!; row++) this.onDropped(row, intendedNs)
        this.#leave()
      } else this.#runTurns(first, sessions[session(n) + 1]!, intendedNs, () => this.#leave())
      if (session(n + 1) >= this.#sessions) this.#leaveClock(clock)
    })
    this.#waits.add(clock)
    if (dueNs(0) === null) this.#leaveClock(clock)
    else clock.start()
  }

  /** Rows first..end-1, each after the one before has ended and its think time has passed. */
  #runTurns(row: number, end: number, dueNs: number, onEnd: (endNs: number) => void): void {
    if (this.setup.rows[row]!.measure)
      Atomics.compareExchange(this.#clock, CLOCK.measureStart, 0n, BigInt(Math.round(dueNs)))
    this.sender.send(row, dueNs, (endNs) => {
      if (this.#stopped) this.#leave()
      else if (row + 1 >= end) onEnd(endNs)
      else this.#think(row + 1, endNs, (nextNs) => this.#runTurns(row + 1, end, nextNs, onEnd))
    })
  }

  #think(row: number, freeNs: number, then: (dueNs: number) => void): void {
    const { thinkNs } = this.setup.rows[row]!
    if (thinkNs === 0) then(freeNs)
    else this.#wait(freeNs + thinkNs, () => then(freeNs + thinkNs))
  }

  #wait(untilNs: number, then: () => void): void {
    if (nowNs() >= untilNs) {
      then()
      return
    }
    const clock = new ArrivalClock(
      (n) => (n === 0 ? untilNs : null),
      () => {
        this.#waits.delete(clock)
        then()
      },
    )
    this.#waits.add(clock)
    clock.start()
  }

  /** The measured phase has a time limit and it has passed. */
  #isOver(row: number, atNs: number): boolean {
    const { maxMeasureNs, rows } = this.setup
    if (maxMeasureNs === null || !rows[row]!.measure) return false
    const startNs = Number(Atomics.load(this.#clock, CLOCK.measureStart))
    return startNs > 0 && atNs - startNs > maxMeasureNs
  }

  #leaveClock(clock: ArrivalClock): void {
    if (this.#waits.delete(clock)) this.#leave()
  }

  #leave(): void {
    this.#running--
    if (this.#running === 0) this.#resolve()
  }

  get #sessions(): number {
    return this.setup.sessions.length - 1
  }
}
