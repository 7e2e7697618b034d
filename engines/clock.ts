const PER_MILLISECOND_NS = 1e6
const READINGS = 32

/** CLOCK_MONOTONIC ns of performance.now() = 0 in this thread. */
const originNs = originOf(
  () => Number(process.hrtime.bigint()),
  () => performance.now(),
)

/** CLOCK_MONOTONIC in ns, the same clock in every thread and process of the host; allocates nothing. */
export function monotonicNs(): number {
  return originNs + performance.now() * PER_MILLISECOND_NS
}

/** A performance.now() reading of this thread (a PerformanceEntry's startTime, ms) as CLOCK_MONOTONIC ns. */
export function entryNs(startTimeMs: number): number {
  return originNs + startTimeMs * PER_MILLISECOND_NS
}

/**
 * The monotonic clock where the other is 0: of several readings the one with the least time between its ends, taken at their middle
 * (Cristian 1989). One reading alone is a millisecond off in a fresh thread, where the first calls are still being compiled.
 */
export function originOf(readMonotonicNs: () => number, readMs: () => number): number {
  let leastNs = Number.POSITIVE_INFINITY
  let originNs = 0
  for (let reading = 0; reading < READINGS; reading++) {
    const beforeNs = readMonotonicNs()
    const nowMs = readMs()
    const betweenNs = readMonotonicNs() - beforeNs
    if (betweenNs >= leastNs) continue
    leastNs = betweenNs
    originNs = beforeNs + betweenNs / 2 - nowMs * PER_MILLISECOND_NS
  }
  return originNs
}
