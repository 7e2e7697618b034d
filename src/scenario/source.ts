import type { Phase } from '../result/schema.js'
import { readDataset } from './dataset.js'
import { drawWhole } from './lengths.js'
import { randomIds } from './prompts.js'
import { RandomStream } from './random.js'
import { type ContentMakers, draftSession, type SessionDraft, type TurnDraft } from './sessions.js'
import type { TextTokenizer } from './tokenizer.js'
import { readTrace, type Trace, type TraceRow } from './traces.js'
import type { Scenario } from './types.js'

/** Where the sessions of a plan come from: drawn, from a file of prompts, or from a recorded trace. */
export interface SessionSource {
  session(phase: Phase, index: number): Promise<SessionDraft>
  /** Due times of the measured sessions by the trace, ms from its start; null when the scenario's own arrivals decide. */
  dueMs: number[] | null
  notes: string[]
}

export async function sessionSource(
  scenario: Scenario,
  makers: ContentMakers,
  tokenizer: TextTokenizer | null,
): Promise<SessionSource> {
  const { arrival } = scenario.load
  const trace = arrival.kind === 'replay' ? readTrace(arrival.file, arrival.format) : null
  const dueMs = trace === null || arrival.kind !== 'replay' ? null : replayTimes(trace.rows, arrival.scale)
  const notes = trace?.notes ?? []
  if (scenario.workload.kind === 'trace') return { session: traceSession(scenario, makers, trace!), dueMs, notes }
  if (scenario.workload.kind === 'synthetic') {
    return { session: (phase, index) => draftSession(scenario, phase, index, makers), dueMs, notes }
  }
  const { items, notes: datasetNotes } = await readDataset(
    scenario.workload.dataset!,
    scenario.seeds.content,
    tokenizer,
  )
  const measured = scenario.load.requests ?? 0
  const session = async (phase: Phase, index: number): Promise<SessionDraft> => {
    // Warm-up takes other prompts than the measured phase, as far as there are any.
    const item = items[(phase === 'measure' ? index : measured + index) % items.length]!
    const drawn = drawWhole(scenario.workload.shapes[0]!.output, new RandomStream(scenario.seeds.lengths, phase, index))
    return oneTurn({
      inputTokens: item.inputTokens,
      outputTokens: item.outputTokens ?? drawn,
      promptIds: null,
      prompt: item.prompt,
    })
  }
  return { session, dueMs, notes: [...notes, ...datasetNotes] }
}

function replayTimes(rows: readonly TraceRow[], scale: number): number[] {
  return rows.map((row) => (row.atMs - rows[0]!.atMs) * scale)
}

/** Lengths of the trace's rows; equal block ids give equal tokens. Warm-up has the same lengths and other content. */
function traceSession(scenario: Scenario, makers: ContentMakers, trace: Trace): SessionSource['session'] {
  const { content } = scenario.seeds
  return async (phase, index) => {
    const row = trace.rows[index % trace.rows.length]!
    const own = new RandomStream(content, phase, index)
    const { inputTokens, outputTokens } = row
    if (makers.text !== null) {
      return oneTurn({ inputTokens, outputTokens, promptIds: null, prompt: await makers.text.make(inputTokens, own) })
    }
    const promptIds: number[] = []
    for (const block of phase === 'measure' ? (row.blocks ?? []) : []) {
      for (const id of randomIds(trace.blockTokens, makers.range, new RandomStream(content, 'block', block)))
        promptIds.push(id)
    }
    promptIds.length = Math.min(promptIds.length, inputTokens)
    promptIds.push(...randomIds(inputTokens - promptIds.length, makers.range, own))
    return oneTurn({ inputTokens, outputTokens, promptIds, prompt: null })
  }
}

function oneTurn(turn: Omit<TurnDraft, 'prefixGroup' | 'thinkNs'>): SessionDraft {
  return { turns: [{ ...turn, prefixGroup: null, thinkNs: 0 }], conversation: false }
}
