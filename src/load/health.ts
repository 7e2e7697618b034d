import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay, PerformanceObserver, performance } from 'node:perf_hooks'
import { nowNs } from '../clock.js'
import type { WorkerHealth } from '../result/schema.js'

const RESOLUTION_MS = 1
/** Linux reports thread times in ticks of 1/100 s (sysconf(_SC_CLK_TCK)). */
const TICKS_PER_SEC = 100

/** Watches one thread from start() to stop(): event-loop delay and utilisation, garbage-collection pauses, CPU, and how late sends were. */
export class HealthMonitor {
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  readonly #gc = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) this.#gcPausesMs.push(entry.duration)
  })
  readonly #gcPausesMs: number[] = []
  readonly #lagsMs: number[] = []
  #loop = performance.eventLoopUtilization()
  #startNs = 0
  #startCpuSecs = 0

  start(): void {
    this.#delay.enable()
    this.#gc.observe({ entryTypes: ['gc'] })
    this.#loop = performance.eventLoopUtilization()
    this.#startNs = nowNs()
    this.#startCpuSecs = threadCpuSecs()
  }

  /** A request was sent this much after it was due. */
  addLag(lagNs: number): void {
    this.#lagsMs.push(lagNs / 1e6)
  }

  stop(worker: number, socketsOpened: number, fastParserDisagreements: number): WorkerHealth {
    this.#delay.disable()
    this.#gc.disconnect()
    // The histogram holds intervals between ticks of a 1 ms timer; what exceeds the interval is delay.
    const delayMs = (percentile: number) =>
      this.#delay.count === 0 ? 0 : Math.max(0, this.#delay.percentile(percentile) / 1e6 - RESOLUTION_MS)
    const lags = this.#lagsMs.sort((a, b) => a - b)
    return {
      worker,
      eventLoopDelayP50Ms: delayMs(50),
      eventLoopDelayP99Ms: delayMs(99),
      eventLoopDelayMaxMs: this.#delay.count === 0 ? 0 : Math.max(0, this.#delay.max / 1e6 - RESOLUTION_MS),
      eventLoopUtilization: performance.eventLoopUtilization(this.#loop).utilization,
      gcPauses: this.#gcPausesMs.length,
      gcPauseTotalMs: this.#gcPausesMs.reduce((sum, pause) => sum + pause, 0),
      gcPauseMaxMs: Math.max(0, ...this.#gcPausesMs),
      scheduleLagP50Ms: nearestRank(lags, 0.5),
      scheduleLagP99Ms: nearestRank(lags, 0.99),
      scheduleLagMaxMs: lags.at(-1) ?? 0,
      socketsOpened,
      cpuSecs: threadCpuSecs() - this.#startCpuSecs,
      wallSecs: (nowNs() - this.#startNs) / 1e9,
      fastParserDisagreements,
    }
  }
}

function nearestRank(sorted: readonly number[], share: number): number {
  return sorted.length === 0 ? 0 : sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!
}

/** User and system time of the calling thread (proc(5), stat fields 14 and 15); of the process where there is no /proc. */
function threadCpuSecs(): number {
  try {
    const fields = readFileSync('/proc/thread-self/stat', 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SEC
  } catch {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1e6
  }
}
