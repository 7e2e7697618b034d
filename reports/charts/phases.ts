import type { RequestRecord } from '../../src/result/schema.js'
import type { BatchTrace, RequestTrace } from '../../src/result/trace.js'
import type { ShownBlock } from './shown.js'

/** Phases of a request, in their order in time. 'wait' stands for queue and prefill where the server does not tell them apart. */
export const PHASES = ['queue', 'wait', 'prefill', 'decode', 'wasted'] as const
export type PhaseName = (typeof PHASES)[number]

export interface PhaseSegment {
  phase: PhaseName
  startSecs: number
  endSecs: number
}

export interface RequestPhases {
  requestId: string
  arrivalSecs: number
  tokens: number
  segments: PhaseSegment[]
}

/** Every request of a block, by arrival, cut into its phases; seconds from the start of the measurement (warm-up is before it). */
export function requestPhases(block: ShownBlock, which: 'measured' | 'all' = 'measured'): RequestPhases[] {
  const traces = new Map<string, RequestTrace>()
  const batches: BatchTrace[] = []
  for (const entry of block.data.steps) {
    if (entry.kind === 'request') traces.set(entry.clientId, entry)
    else if (entry.kind === 'batch') batches.push(entry)
  }
  return block.data.records
    .filter((record) => (which === 'all' || record.phase === 'measure') && record.sentNs !== null)
    .map((record) => phasesOf(record, traces.get(record.requestId), batches, block.zeroNs))
    .filter((request) => request.segments.length > 0)
    .sort((a, b) => a.arrivalSecs - b.arrivalSecs)
}

function phasesOf(
  record: RequestRecord,
  trace: RequestTrace | undefined,
  batches: readonly BatchTrace[],
  zeroNs: number,
): RequestPhases {
  const cuts: [PhaseName, number | null, number | null][] =
    trace === undefined
      ? [
          ['wait', record.sentNs, record.firstTokenNs],
          ['decode', record.firstTokenNs, record.lastTokenNs],
        ]
      : tracedCuts(record, trace, batches)
  const secs = (ns: number) => Number(((ns - zeroNs) / 1e9).toFixed(4))
  return {
    requestId: record.requestId,
    arrivalSecs: secs(record.sentNs!),
    tokens: record.counted,
    segments: cuts.flatMap(([phase, start, end]) =>
      start === null || end === null || end - start < 1e5
        ? []
        : [{ phase, startSecs: secs(start), endSecs: secs(end) }],
    ),
  }
}

/**
 * In a left-padded batch the part of the prefill that went into padding is the prompt's lack against the longest prompt; it is
 * drawn first, in proportion. What follows a row's own last token until its batch ends is waste too.
 */
function tracedCuts(
  record: RequestRecord,
  trace: RequestTrace,
  batches: readonly BatchTrace[],
): [PhaseName, number | null, number | null][] {
  const batch = batches.find((entry) => trace.scheduledNs >= entry.startNs && trace.scheduledNs < entry.endNs)
  const padded = batch === undefined || batch.longestPrompt === 0 ? 0 : 1 - trace.promptTokens / batch.longestPrompt
  const prefillNs = trace.scheduledNs + padded * (trace.firstTokenNs - trace.scheduledNs)
  return [
    ['queue', record.sentNs, trace.scheduledNs],
    ['wasted', trace.scheduledNs, prefillNs],
    ['prefill', prefillNs, trace.firstTokenNs],
    ['decode', trace.firstTokenNs, trace.finishedNs],
    ['wasted', trace.finishedNs, trace.releasedNs],
  ]
}
