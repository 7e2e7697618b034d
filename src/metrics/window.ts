import type { RequestRecord } from '../result/schema.js'
import type { Arrival } from '../scenario/types.js'

/** The stretch of a block over which rates are taken, ns, and how it was found. */
export interface Window {
  startNs: number
  endNs: number
  secs: number
  how: string
}

/**
 * [w0, w1] on token arrival. w0: the measured phase starts (warm-up flows into it without draining). w1: the last instant at which the asked load
 * was still fully offered: in closed loop the first end after the last send, in open loop the last due time. The drain is outside.
 */
export function windowOf(records: readonly RequestRecord[], arrival: Arrival, measureStartNs: number | null): Window {
  const sent = records.filter((record) => record.sentNs !== null)
  const startNs = measureStartNs ?? least(sent.flatMap((r) => (r.phase === 'measure' ? [r.intendedNs] : [])))
  const lastTokenNs = greatest(sent.map((record) => record.lastTokenNs ?? record.sentNs!))
  if (startNs === null || lastTokenNs === null) return { startNs: 0, endNs: 0, secs: 0, how: 'nothing was sent' }
  const endNs = arrival.kind === 'closed' ? closedEnd(sent, arrival.concurrency) : openEnd(sent)
  if (endNs !== null && endNs > startNs && endNs <= lastTokenNs) {
    const until = arrival.kind === 'closed' ? 'the first slot without a request to send' : 'the last arrival'
    return { startNs, endNs, secs: (endNs - startNs) / 1e9, how: `measured start to ${until}` }
  }
  const end = Math.max(lastTokenNs, startNs)
  return { startNs, endNs: end, secs: (end - startNs) / 1e9, how: 'measured start to last token, drain included' }
}

/** After the last send the first end leaves a slot empty; null when the load never filled its slots. */
function closedEnd(sent: readonly RequestRecord[], concurrency: number): number | null {
  if (sent.length <= concurrency) return null
  const lastSentNs = greatest(sent.map((record) => record.sentNs!))
  return least(sent.flatMap((record) => (record.doneNs !== null && record.doneNs > lastSentNs! ? [record.doneNs] : [])))
}

function openEnd(sent: readonly RequestRecord[]): number | null {
  return greatest(sent.map((record) => record.intendedNs))
}

export function least(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((a, b) => Math.min(a, b))
}

export function greatest(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((a, b) => Math.max(a, b))
}
