import { closeSync, openSync, writeSync } from 'node:fs'
import { PerformanceObserver } from 'node:perf_hooks'
import { entryNs } from './clock.js'
import type { Sequence, StepTraceRecord } from './engine.js'

const FLUSH_BYTES = 32 * 1024
const FLUSH_NS = 250e6

/** Where a loop's records go; the suites keep them in memory. */
export interface TraceSink {
  write(record: StepTraceRecord): void
  /** Called between steps; writes out what has waited long enough. */
  tick(nowNs: number): void
  close(): void
}

/**
 * Writes the step trace as JSON lines. Lines wait in memory until 32 KiB or a quarter of a second have gathered, and are written between
 * steps, so a step is never held up by more than one small write. A full disk ends the trace, not the engine.
 */
export class TraceFile implements TraceSink {
  #file: number | null
  #lines: string[] = []
  #bytes = 0
  #flushedNs = 0
  readonly #observer: PerformanceObserver

  /** Throws the system's error when the file cannot be opened. */
  constructor(readonly path: string) {
    this.#file = openSync(path, 'w')
    this.#observer = new PerformanceObserver((list) => {
      for (const { startTime, duration } of list.getEntries()) {
        this.write({ kind: 'gc', tNs: Math.round(entryNs(startTime)), durationNs: Math.round(duration * 1e6) })
      }
    })
    this.#observer.observe({ entryTypes: ['gc'] })
  }

  write(record: StepTraceRecord): void {
    if (this.#file === null) return
    const line = JSON.stringify(record)
    this.#lines.push(line)
    this.#bytes += line.length + 1
  }

  tick(nowNs: number): void {
    if (this.#bytes === 0 || (this.#bytes < FLUSH_BYTES && nowNs - this.#flushedNs < FLUSH_NS)) return
    this.#flushedNs = nowNs
    this.#flush()
  }

  close(): void {
    this.#observer.disconnect()
    this.#flush()
    if (this.#file !== null) closeSync(this.#file)
    this.#file = null
  }

  #flush(): void {
    if (this.#file === null || this.#lines.length === 0) return
    try {
      writeSync(this.#file, `${this.#lines.join('\n')}\n`)
    } catch (error) {
      writeSync(2, `engine: the step trace ends here, ${this.path}: ${(error as Error).message}\n`)
      closeSync(this.#file)
      this.#file = null
    }
    this.#lines = []
    this.#bytes = 0
  }
}

export const NO_TRACE: TraceSink = { write: () => {}, tick: () => {}, close: () => {} }

/** The trace record of a sequence that has left its batch. */
export function requestRecord(sequence: Sequence, releasedNs: number): StepTraceRecord {
  const { request } = sequence
  return {
    kind: 'request',
    id: request.id,
    clientId: request.clientId,
    arrivalNs: request.arrivalNs,
    scheduledNs: Math.round(sequence.scheduledNs),
    firstTokenNs: Math.round(sequence.firstTokenNs),
    finishedNs: Math.round(sequence.finishedNs),
    releasedNs: Math.round(releasedNs),
    promptTokens: sequence.promptLength,
    outputTokens: sequence.length - sequence.promptLength,
    cachedTokens: sequence.cachedTokens,
    preemptions: sequence.preemptions,
    wastedTokens: sequence.wastedTokens,
    finishReason: sequence.finishReason ?? 'abort',
  }
}
