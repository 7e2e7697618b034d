import type { RequestRecord, Tool, ToolColumn, ToolStats } from '../result/schema.js'
import { greatest, least } from './window.js'

export const TOOLS = ['vllm bench serve', 'guidellm', 'aiperf'] as const
/** What each tool's names mean: t0 start, tf first token, tl last token, N output tokens. */
export const DEFINITIONS: Record<Tool, ToolColumn['how']> = {
  'vllm bench serve': {
    ttft: 'first frame with a choice, even an empty one, - t0',
    tpot: '(last frame - t0 - TTFT) / (N - 1)',
    itl: 'gaps between frames with a choice, pooled; frames of one read give zeros',
    throughput: 'sum(N) / duration, drain included',
  },
  guidellm: {
    ttft: 'first content or reasoning - t0; missing becomes 0',
    tpot: '(tl - t0) / N: includes TTFT; weighted by N',
    itl: '(tl - tf) / (N - 1), weighted by N - 1',
    throughput: 'sum(N) / (last end - first start)',
  },
  aiperf: {
    ttft: 'first non-empty content - t0',
    tpot: 'none',
    itl: '(tl - t0 - TTFT) / (N - 1), one value a request',
    throughput: 'sum(N) / (last end - first start)',
  },
}

/** The measured phase as each tool would report it, from the same events. */
export function toolColumns(records: readonly RequestRecord[]): ToolColumn[] {
  const ok = records.filter((record) => record.phase === 'measure' && record.outcome === 'ok')
  return [vllmColumn(ok), guidellmColumn(ok), aiperfColumn(ok)]
}

/** vllm/benchmarks/serve.py calculate_metrics and lib/endpoint_request_func.py; percentiles as numpy's (linear). */
function vllmColumn(ok: readonly RequestRecord[]): ToolColumn {
  const ttft = (r: RequestRecord) => ((r.firstChoiceNs ?? r.firstTokenNs)! - r.sentNs!) / 1e6
  const latency = (r: RequestRecord) => ((r.finishNs ?? r.lastTokenNs)! - r.sentNs!) / 1e6
  const answered = ok.filter((record) => record.firstTokenNs !== null)
  const tpot = answered.flatMap((r) => (r.counted > 1 ? [(latency(r) - ttft(r)) / (r.counted - 1)] : []))
  return {
    tool: 'vllm bench serve',
    how: DEFINITIONS['vllm bench serve'],
    ttftMs: linearStats(answered.map(ttft)),
    tpotMs: linearStats(tpot),
    itlMs: linearStats(answered.flatMap(vllmGaps)),
    e2eMs: linearStats(answered.map(latency)),
    ...rates(
      ok,
      spanSecs(ok, (record) => record.doneNs),
    ),
  }
}

/** One gap a frame with a choice; further frames of a read are microseconds later, as good as 0. */
function vllmGaps(record: RequestRecord): number[] {
  const gaps: number[] = []
  let lastNs = record.firstChoiceNs ?? record.firstTokenNs!
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

/** guidellm schemas/request_stats.py: weighted distributions, percentiles by cumulative weight. */
function guidellmColumn(ok: readonly RequestRecord[]): ToolColumn {
  const last = (r: RequestRecord) => r.lastTokenNs ?? r.sentNs!
  const tokens = (r: RequestRecord) => Math.max(0, r.counted)
  const many = ok.filter((record) => record.counted > 1)
  const some = ok.filter((record) => record.counted > 0)
  return {
    tool: 'guidellm',
    how: DEFINITIONS.guidellm,
    ttftMs: weightedStats(ok.map((r) => [r.firstTokenNs === null ? 0 : (r.firstTokenNs - r.sentNs!) / 1e6, 1])),
    tpotMs: weightedStats(some.map((r) => [(last(r) - r.sentNs!) / 1e6 / tokens(r), tokens(r)])),
    itlMs: weightedStats(many.map((r) => [(last(r) - r.firstTokenNs!) / 1e6 / (tokens(r) - 1), tokens(r) - 1])),
    e2eMs: weightedStats(ok.map((r) => [((r.doneNs ?? last(r)) - r.sentNs!) / 1e6, 1])),
    ...rates(
      ok,
      spanSecs(ok, (record) => record.doneNs),
    ),
  }
}

/** aiperf metrics reference: request_latency ends with the last content. */
function aiperfColumn(ok: readonly RequestRecord[]): ToolColumn {
  const answered = ok.filter((record) => record.firstTokenNs !== null)
  const ttft = (r: RequestRecord) => (r.firstTokenNs! - r.sentNs!) / 1e6
  const latency = (r: RequestRecord) => (r.lastTokenNs! - r.sentNs!) / 1e6
  const many = answered.filter((record) => record.counted > 1)
  return {
    tool: 'aiperf',
    how: DEFINITIONS.aiperf,
    ttftMs: linearStats(answered.map(ttft)),
    tpotMs: null,
    itlMs: linearStats(many.map((r) => (latency(r) - ttft(r)) / (r.counted - 1))),
    e2eMs: linearStats(answered.map(latency)),
    ...rates(
      ok,
      spanSecs(ok, (record) => record.lastTokenNs),
    ),
  }
}

function spanSecs(ok: readonly RequestRecord[], endOf: (record: RequestRecord) => number | null): number | null {
  const start = least(ok.map((record) => record.sentNs!))
  const end = greatest(ok.flatMap((record) => endOf(record) ?? []))
  return start === null || end === null || end <= start ? null : (end - start) / 1e9
}

function rates(ok: readonly RequestRecord[], secs: number | null) {
  const tokens = ok.reduce((sum, record) => sum + record.counted, 0)
  return {
    outputTokensPerSecond: secs === null ? null : tokens / secs,
    requestsPerSecond: secs === null ? null : ok.length / secs,
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
  return { mean: sorted.reduce((a, b) => a + b, 0) / sorted.length, p50: at(0.5), p99: at(0.99) }
}

function weightedStats(pairs: readonly (readonly [value: number, weight: number])[]): ToolStats | null {
  const total = pairs.reduce((sum, [, weight]) => sum + weight, 0)
  if (total === 0) return null
  const sorted = [...pairs].sort((a, b) => a[0] - b[0])
  const at = (share: number) => {
    let seen = 0
    for (const [value, weight] of sorted) {
      seen += weight
      if (seen >= share * total) return value
    }
    return sorted.at(-1)![0]
  }
  return { mean: pairs.reduce((sum, [value, weight]) => sum + value * weight, 0) / total, p50: at(0.5), p99: at(0.99) }
}
