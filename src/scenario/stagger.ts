import type { PlanRow } from '../result/schema.js'

/**
 * In closed loop the slots of the first wave open one after another, not in one instant: a client that writes 256 requests in one turn of its loop reads
 * the first answers late and counts that as the server's TTFT. Short by intent: a server that gathers a batch (ours waits 50 ms) must still find the
 * whole wave in it.
 */
const GAP_MS = 0.5
const LONGEST_MS = 25

/** Half a millisecond a slot, 25 ms in all at most; a single slot has nobody to wait for. */
export function defaultStaggerMs(concurrency: number): number {
  return concurrency === 1 ? 0 : Math.min(GAP_MS * concurrency, LONGEST_MS)
}

/** Gives the first `concurrency` sessions the times at which their slots open, ns from the start, evenly over `staggerMs`. 0: none, as before. */
export function staggerFirstWave(rows: readonly PlanRow[], concurrency: number, staggerMs: number): PlanRow[] {
  const gapNs = (staggerMs * 1e6) / concurrency
  let session = 0
  return rows.map((row) => {
    const isFirst = row.turn === null || row.turn === 0
    if (!isFirst || gapNs === 0 || session >= concurrency) return row
    return { ...row, dueNs: Math.round(gapNs * session++) }
  })
}
