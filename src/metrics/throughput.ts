import type { RequestRecord } from '../result/schema.js'
import { greatest, least, type Window } from './window.js'

export interface Throughput {
  /** Tokens that arrived in [w0, w1] / (w1 - w0). Counts tokens, not requests: long requests cause no edge bias. */
  outputTokensPerSecond: number | null
  /** Prompt tokens of the requests whose first token arrived in the window, per second of it. */
  promptTokensPerSecond: number | null
  requestsPerSecond: number | null
  /** sum(N) / (last t_done - first t_intended) over the measured phase, drain included (vLLM, MLPerf). */
  wholeRunOutputTokensPerSecond: number | null
  wholeRunSecs: number | null
}

export function throughputOf(records: readonly RequestRecord[], window: Window): Throughput {
  const measured = records.filter((record) => record.phase === 'measure' && record.sentNs !== null)
  const ok = measured.filter((record) => record.outcome === 'ok')
  const firstNs = least(measured.map((record) => record.intendedNs))
  const lastNs = greatest(measured.flatMap((record) => (record.doneNs === null ? [] : [record.doneNs])))
  const wholeRunSecs = firstNs === null || lastNs === null || lastNs <= firstNs ? null : (lastNs - firstNs) / 1e9
  const tokens = ok.reduce((sum, record) => sum + record.counted, 0)
  const perSecond = (count: number) => (window.secs > 0 ? count / window.secs : null)
  const inWindow = (ns: number | null) => ns !== null && ns >= window.startNs && ns <= window.endNs
  const prompts = records.reduce((sum, record) => sum + (inWindow(record.firstTokenNs) ? promptTokens(record) : 0), 0)
  return {
    outputTokensPerSecond: perSecond(tokensBetween(records, window.startNs, window.endNs)),
    promptTokensPerSecond: perSecond(prompts),
    requestsPerSecond: perSecond(records.filter((record) => record.outcome === 'ok' && inWindow(record.doneNs)).length),
    wholeRunOutputTokensPerSecond: wholeRunSecs === null ? null : tokens / wholeRunSecs,
    wholeRunSecs,
  }
}

/** Tokens that arrived in (startNs, endNs], of whatever request: also of warm-up still running and of requests that failed later. */
export function tokensBetween(records: readonly RequestRecord[], startNs: number, endNs: number): number {
  let tokens = 0
  for (const record of records) {
    if (record.sentNs === null || record.lastTokenNs === null || record.lastTokenNs <= startNs) continue
    if (record.sentNs > endNs) continue
    for (let index = 0; index < record.readNs.length; index++) {
      const atNs = record.sentNs + record.readNs[index]!
      if (atNs > startNs && atNs <= endNs) tokens += record.readTokens[index]!
    }
  }
  return tokens
}

/** As the server counted them where it did, else as planned. */
export function promptTokens(record: RequestRecord): number {
  return record.usagePromptTokens ?? record.inputTokens
}
