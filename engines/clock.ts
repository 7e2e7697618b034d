const PER_MILLISECOND_NS = 1e6

/** CLOCK_MONOTONIC ns of performance.now() = 0 in this thread. */
const originNs = Number(process.hrtime.bigint()) - performance.now() * PER_MILLISECOND_NS

/** CLOCK_MONOTONIC in ns, the same clock in every thread and process of the host; allocates nothing. */
export function monotonicNs(): number {
  return originNs + performance.now() * PER_MILLISECOND_NS
}

/** A performance.now() reading of this thread (a PerformanceEntry's startTime, ms) as CLOCK_MONOTONIC ns. */
export function entryNs(startTimeMs: number): number {
  return originNs + startTimeMs * PER_MILLISECOND_NS
}
