import type { Slo, SloTerm } from './types.js'

const MLPERF = 'MLPerf Inference, loadgen/mlperf.conf (Server scenario)'
const GUIDELLM = 'guidellm, docs/guides/service_level_objectives.md'

const ttftTpot = (ttftMs: number, tpotMs: number): SloTerm[] => [
  { metric: 'ttft', percentile: 99, limitMs: ttftMs },
  { metric: 'tpot', percentile: 99, limitMs: tpotMs },
]
const ttftItl = (ttftMs: number, itlMs: number): SloTerm[] => [
  { metric: 'ttft', percentile: 99, limitMs: ttftMs },
  { metric: 'itl', percentile: 99, limitMs: itlMs },
]
const e2e = (limitMs: number): SloTerm => ({ metric: 'e2e', percentile: 99, limitMs })

/** Service-level objectives in public use, by name. p99, milliseconds. */
export const SLO_PRESETS: Readonly<Record<string, { terms: SloTerm[]; source: string }>> = {
  'llama2-70b': { terms: ttftTpot(2000, 200), source: MLPERF },
  'llama2-70b-interactive': { terms: ttftTpot(450, 40), source: MLPERF },
  'llama3.1-8b': { terms: ttftTpot(2000, 100), source: MLPERF },
  'llama3.1-8b-interactive': { terms: ttftTpot(500, 30), source: MLPERF },
  'llama3.1-405b': { terms: ttftTpot(6000, 175), source: MLPERF },
  'llama3.1-405b-interactive': { terms: ttftTpot(4500, 80), source: MLPERF },
  mixtral: { terms: ttftTpot(2000, 200), source: MLPERF },
  'deepseek-r1': { terms: ttftTpot(2000, 80), source: MLPERF },
  'deepseek-r1-interactive': { terms: ttftTpot(1500, 15), source: MLPERF },
  'gpt-oss-120b': { terms: ttftTpot(3000, 80), source: MLPERF },
  'gpt-oss-120b-interactive': { terms: ttftTpot(2000, 15), source: MLPERF },
  chat: { terms: ttftItl(200, 50), source: GUIDELLM },
  rag: { terms: [...ttftItl(300, 100), e2e(3000)], source: GUIDELLM },
  'code-generation': { terms: ttftItl(500, 150), source: GUIDELLM },
  content: { terms: ttftItl(600, 200), source: GUIDELLM },
  'code-completion': { terms: [e2e(2000)], source: GUIDELLM },
}

/** An SLO in one line: 'ttft p99<2000ms, tpot p99<100ms, errors<=0%'. */
export function sloLine(slo: Slo): string {
  const terms = slo.terms.map((term) => `${term.metric} p${term.percentile}<${term.limitMs}ms`)
  return [...terms, `errors<=${slo.maxErrorShare * 100}%`].join(', ')
}
