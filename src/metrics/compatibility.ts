import type { RequestRecord, Tool, ToolColumn, ToolStats } from '../result/schema.js'
import { greatest, least } from './window.js'

export const TOOLS = ['vllm bench serve', 'guidellm', 'aiperf'] as const
/** What each tool's names mean: t0 start, tf first token, tl last token, N output tokens. */
export const DEFINITIONS: Record<Tool, ToolColumn['how']> = {
  'vllm bench serve': {
    ttft: 'first frame with a choice, even an empty one, - t0',
    tpot: '(last frame - t0 - TTFT) / (N - 1)',
    itl: 'gaps between frames with a choice, pooled; frames of one read give zeros',
    throughput: 'sum(N) / duration, from its start to the end of the last request',
  },
  guidellm: {
    ttft: 'first content or reasoning - t0',
    tpot: '(tl - t0) / N: includes TTFT; weighted by N; missing becomes 0',
    itl: '(tl - tf) / (N - 1), weighted by N - 1; missing becomes 0',
    throughput: 'sum(N) / (last end - first start)',
  },
  aiperf: {
    ttft: 'first non-empty content or reasoning - t0',
    tpot: 'none',
    itl: '(tl - t0 - TTFT) / (N - 1), one value a request (without --per-chunk-usage)',
    throughput: 'sum(N) / (start of the phase to the return of its last request)',
  },
}

/** The time a tool divides counts by, on the clock of the records: guidellm's measured window, vLLM's duration, aiperf's phase. */
export interface ToolWindow {
  startNs: number
  endNs: number
}

/**
 * The measured phase as each tool would report it, from the same events. `window`: the tool's own, where its result tells one; default:
 * to the last end, from the first send (guidellm) or the instant the first request was due (vLLM, aiperf: their clocks start with the load).
 */
export function toolColumns(records: readonly RequestRecord[], window?: ToolWindow): ToolColumn[] {
  return TOOLS.map((tool) => toolColumn(tool, records, window))
}

export function toolColumn(tool: Tool, records: readonly RequestRecord[], window?: ToolWindow): ToolColumn {
  const ok = records.filter((record) => record.phase === 'measure' && record.outcome === 'ok')
  return { tool, how: DEFINITIONS[tool], ...COLUMNS[tool](ok, window) }
}

type Figures = Omit<ToolColumn, 'tool' | 'how'>
const COLUMNS: Record<Tool, (ok: readonly RequestRecord[], window?: ToolWindow) => Figures> = {
  'vllm bench serve': vllmFigures,
  guidellm: guidellmFigures,
  aiperf: aiperfFigures,
}

/** vLLM 0.32.0, benchmarks/serve.py calculate_metrics and lib/endpoint_request_func.py; percentiles as numpy's (linear). */
function vllmFigures(ok: readonly RequestRecord[], window?: ToolWindow): Figures {
  const firstNs = (r: RequestRecord) => r.firstChoiceNs ?? r.firstTokenNs
  const answered = ok.filter((record) => firstNs(record) !== null)
  const ttft = (r: RequestRecord) => (firstNs(r)! - r.sentNs!) / 1e6
  const latency = (r: RequestRecord) => ((r.finishNs ?? r.lastTokenNs)! - r.sentNs!) / 1e6
  const tpot = answered.flatMap((r) => (r.counted > 1 ? [(latency(r) - ttft(r)) / (r.counted - 1)] : []))
  return {
    ttftMs: linearStats(answered.map(ttft)),
    tpotMs: linearStats(tpot),
    itlMs: linearStats(answered.flatMap(vllmGaps)),
    e2eMs: linearStats(answered.map(latency)),
    ...rates(ok, window ?? span(ok, (record) => record.intendedNs)),
  }
}

/** One gap a frame with a choice; further frames of a read are microseconds later, as good as 0. */
function vllmGaps(record: RequestRecord): number[] {
  const gaps: number[] = []
  let lastNs = (record.firstChoiceNs ?? record.firstTokenNs)!
  const counted = record.firstChoiceNs === record.firstTokenNs || record.firstChoiceNs == null
  for (const [index, offset] of record.readNs.entries()) {
    const atNs = record.sentNs! + offset
    for (let frame = 0; frame < record.readFrames[index]!; frame++) {
      if (index === 0 && frame === 0 && counted) continue
      gaps.push((atNs - lastNs) / 1e6)
      lastNs = atNs
    }
  }
  if (record.bareFinish && record.finishNs != null) gaps.push((record.finishNs - lastNs) / 1e6)
  return gaps
}

/**
 * guidellm 0.8.1, schemas/base/request_stats.py, statistics.py and benchmark/schemas/metrics.py: distributions weighted by tokens. Its TTFT
 * takes the requests whose first token came after the window began, its ITL those whose first token came before it ended.
 */
function guidellmFigures(ok: readonly RequestRecord[], window?: ToolWindow): Figures {
  const taken = window ?? span(ok, (record) => record.sentNs!)
  const within = (fromNs: number, toNs: number) => taken === null || (toNs >= taken.startNs && fromNs <= taken.endNs)
  const last = (r: RequestRecord) => r.lastTokenNs ?? r.doneNs ?? r.sentNs!
  const all = ok.filter((r) => within(r.sentNs!, r.doneNs ?? last(r)))
  const begun = ok.filter((r) => r.firstTokenNs !== null && within(r.sentNs!, r.firstTokenNs))
  const decoded = ok.filter((r) => within(r.firstTokenNs ?? last(r), r.doneNs ?? last(r)))
  return {
    ttftMs: weightedStats(begun.map((r) => [(r.firstTokenNs! - r.sentNs!) / 1e6, 1])),
    tpotMs: weightedStats(
      all.map((r) => [r.counted === 0 ? 0 : (last(r) - r.sentNs!) / 1e6 / r.counted, Math.max(0, r.counted)]),
    ),
    itlMs: weightedStats(
      decoded.map((r) => {
        const known = r.counted > 1 && r.firstTokenNs !== null && r.lastTokenNs !== null
        return [known ? (r.lastTokenNs! - r.firstTokenNs!) / 1e6 / (r.counted - 1) : 0, Math.max(0, r.counted - 1)]
      }),
    ),
    e2eMs: weightedStats(all.map((r) => [((r.doneNs ?? last(r)) - r.sentNs!) / 1e6, 1])),
    ...rates(all, taken),
  }
}

/**
 * aiperf 0.13.0, metrics/types/*.py: a request ends with its last content; percentiles as numpy's (linear). Throughput divides by the phase
 * (metrics/accumulator.py), not by the benchmark_duration that stands in the same file and ends with the last content.
 */
function aiperfFigures(ok: readonly RequestRecord[], window?: ToolWindow): Figures {
  const answered = ok.filter((record) => record.firstTokenNs !== null)
  const ttft = (r: RequestRecord) => (r.firstTokenNs! - r.sentNs!) / 1e6
  const latency = (r: RequestRecord) => (r.lastTokenNs! - r.sentNs!) / 1e6
  const many = answered.filter((record) => record.counted > 1)
  return {
    ttftMs: linearStats(answered.map(ttft)),
    tpotMs: null,
    itlMs: linearStats(many.map((r) => (latency(r) - ttft(r)) / (r.counted - 1))),
    e2eMs: linearStats(answered.map(latency)),
    ...rates(answered, window ?? span(answered, (record) => record.intendedNs)),
  }
}

function span(ok: readonly RequestRecord[], startOf: (record: RequestRecord) => number): ToolWindow | null {
  const startNs = least(ok.map(startOf))
  const endNs = greatest(ok.flatMap((record) => record.doneNs ?? []))
  return startNs === null || endNs === null ? null : { startNs, endNs }
}

function rates(ok: readonly RequestRecord[], window: ToolWindow | null) {
  const secs = window === null ? 0 : (window.endNs - window.startNs) / 1e9
  const output = ok.reduce((sum, record) => sum + record.counted, 0)
  const prompt = ok.reduce((sum, record) => sum + (record.usagePromptTokens ?? record.inputTokens), 0)
  const perSecond = (count: number) => (secs > 0 ? count / secs : null)
  return {
    outputTokensPerSecond: perSecond(output),
    requestsPerSecond: perSecond(ok.length),
    totalTokensPerSecond: perSecond(prompt + output),
  }
}

/** numpy.percentile's default: linear interpolation between order statistics. */
function linearStats(values: readonly number[]): ToolStats | null {
  if (values.length === 0) return null
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number) => {
    const position = share * (sorted.length - 1)
    const below = Math.floor(position)
    const above = Math.min(below + 1, sorted.length - 1)
    return sorted[below]! + (position - below) * (sorted[above]! - sorted[below]!)
  }
  return { mean: sorted.reduce((a, b) => a + b, 0) / sorted.length, p50: at(0.5), p90: at(0.9), p99: at(0.99) }
}

/**
 * The smallest value whose cumulative share reaches p. Shares are summed as guidellm sums them (equal values first joined, then one by one
 * in floating point): with 12 values six twelfths come to less than a half, and its median is the seventh.
 */
function weightedStats(pairs: readonly (readonly [value: number, weight: number])[]): ToolStats | null {
  const weightOf = new Map<number, number>()
  for (const [value, weight] of pairs) if (weight > 0) weightOf.set(value, (weightOf.get(value) ?? 0) + weight)
  const total = pairs.reduce((sum, [, weight]) => sum + weight, 0)
  if (total === 0) return null
  const sorted = [...weightOf].sort((a, b) => a[0] - b[0])
  const at = (share: number) => {
    let seen = 0
    for (const [value, weight] of sorted) {
      seen += weight / total
      if (seen >= share) return value
    }
    return sorted.at(-1)![0]
  }
  const mean = sorted.reduce((sum, [value, weight]) => sum + value * (weight / total), 0)
  return { mean, p50: at(0.5), p90: at(0.9), p99: at(0.99) }
}
