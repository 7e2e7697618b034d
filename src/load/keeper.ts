import { setTimeout as sleep } from 'node:timers/promises'
import type { Outcome, PlanRow, RequestRecord } from '../result/schema.js'
import type { WireRecord } from './messages.js'

/** Outcomes that a dying process causes a moment before its death is known. */
const SYMPTOMS: readonly Outcome[] = ['reset', 'connect-failed', 'truncated']
const HOLD_MS = 500

/**
 * Collects records and sees to it that every planned row has exactly one. Where the target's death can be known, records that may be its symptom are
 * held back for half a second and relabelled 'target-died' when it comes.
 */
export class RecordKeeper {
  readonly #records: (RequestRecord | undefined)[]
  #held: { record: RequestRecord; timer: NodeJS.Timeout }[] = []
  #crash: string | null = null

  constructor(
    readonly rows: readonly PlanRow[],
    readonly died: AbortSignal | null,
    readonly onRecord: (record: RequestRecord) => void,
  ) {
    this.#records = new Array(rows.length).fill(undefined)
    died?.addEventListener('abort', () => this.#releaseHeld(), { once: true })
  }

  add(wire: WireRecord): void {
    const record: RequestRecord = {
      ...wire,
      readNs: Array.from(wire.readNs),
      readTokens: Array.from(wire.readTokens),
      readFrames: Array.from(wire.readFrames),
    }
    if (this.died === null || !SYMPTOMS.includes(record.outcome)) this.#keep(record)
    else if (this.died.aborted) this.#keep(this.#relabel(record))
    else this.#hold(record)
  }

  addDropped(index: number, intendedNs: number): void {
    this.#keep({
      ...this.#unsent(index, { outcome: 'dropped', detail: 'the cap on requests in flight was reached' }),
      intendedNs,
    })
  }

  crashed(message: string): void {
    this.#crash = message
  }

  /** Waits for held records, then gives every row without a record the reason it was not sent. */
  async finish(reason: Pick<RequestRecord, 'outcome' | 'detail'>): Promise<void> {
    if (this.#held.length > 0 && this.died?.aborted === false) await sleep(HOLD_MS)
    this.#releaseHeld()
    const why = this.#crash === null ? reason : { outcome: 'cancelled' as const, detail: this.#crash }
    for (const index of this.rows.keys()) if (this.#records[index] === undefined) this.#keep(this.#unsent(index, why))
  }

  /** By row index; complete after finish(). */
  records(): RequestRecord[] {
    return this.#records.filter((record): record is RequestRecord => record !== undefined)
  }

  #keep(record: RequestRecord): void {
    if (this.#records[record.index] !== undefined) throw new Error(`request ${record.index} ended twice`)
    this.#records[record.index] = record
    this.onRecord(record)
  }

  #hold(record: RequestRecord): void {
    const held = { record, timer: setTimeout(() => this.#release(held), HOLD_MS) }
    this.#held.push(held)
  }

  #release(held: { record: RequestRecord; timer: NodeJS.Timeout }): void {
    clearTimeout(held.timer)
    this.#held = this.#held.filter((other) => other !== held)
    this.#keep(this.died?.aborted ? this.#relabel(held.record) : held.record)
  }

  #releaseHeld(): void {
    for (const held of [...this.#held]) this.#release(held)
  }

  #relabel(record: RequestRecord): RequestRecord {
    return {
      ...record,
      outcome: 'target-died',
      detail: `${this.died?.reason ?? 'the process died'} (${record.detail})`,
    }
  }

  #unsent(index: number, why: Pick<RequestRecord, 'outcome' | 'detail'>): RequestRecord {
    const row = this.rows[index]!
    return {
      index,
      phase: row.phase,
      requestId: '',
      worker: 0,
      ...why,
      httpStatus: null,
      finishReason: null,
      freshSocket: false,
      inputTokens: row.inputTokens,
      outputTokens: row.outputTokens,
      intendedNs: 0,
      dequeuedNs: null,
      sentNs: null,
      bodySentNs: null,
      headersNs: null,
      firstByteNs: null,
      firstTokenNs: null,
      firstOutputNs: null,
      lastTokenNs: null,
      doneNs: null,
      readNs: [],
      readTokens: [],
      readFrames: [],
      counted: 0,
      usagePromptTokens: null,
      usageCompletionTokens: null,
      cachedTokens: null,
      engineTokens: null,
      frames: 0,
      bytes: 0,
      tokenIds: null,
      text: null,
    }
  }
}
