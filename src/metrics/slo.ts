import type { RequestRecord } from '../result/schema.js'
import type { Slo, SloTerm } from '../scenario/types.js'
import { nearestRank, sampleFloor } from './distribution.js'
import { sloValueMs } from './goodput.js'

/** Whether a block met its SLO as a whole, MLPerf style: each named percentile under its limit, and few enough errors. */
export interface SloVerdict {
  meets: boolean
  /** One line an objective: 'ttft p99 1832.0 ms < 2000 ms'. */
  lines: string[]
  /** Objectives whose percentile has too few samples to be sure. */
  underFloor: string[]
}

export function judgeSlo(records: readonly RequestRecord[], slo: Slo): SloVerdict {
  const attempted = records.filter(
    (r) => r.phase === 'measure' && r.outcome !== 'not-sent' && r.outcome !== 'cancelled',
  )
  const ok = attempted.filter((record) => record.outcome === 'ok')
  const failures = attempted.length - ok.length
  const errorShare = attempted.length === 0 ? 1 : failures / attempted.length
  const terms = slo.terms.map((term) => judgeTerm(ok, failures, term))
  const errors = `errors ${(100 * errorShare).toFixed(2)} %, allowed ${(100 * slo.maxErrorShare).toFixed(2)} %`
  return {
    meets: errorShare <= slo.maxErrorShare && terms.every((term) => term.meets),
    lines: [...terms.map((term) => term.line), errors],
    underFloor: terms.flatMap((term) => (term.underFloor === null ? [] : [term.underFloor])),
  }
}

/** Failures count as +infinity in the tail (aiperf's adjusted percentiles). */
function judgeTerm(ok: readonly RequestRecord[], failures: number, term: SloTerm) {
  const defined = ok.map((record) => sloValueMs(record, term.metric)).filter((value): value is number => value !== null)
  const values = [...defined, ...Array<number>(failures).fill(Number.POSITIVE_INFINITY)]
  const value = nearestRank(values, term.percentile)
  const name = `${term.metric} p${term.percentile}`
  const meets = value !== null && value < term.limitMs
  const needed = sampleFloor(term.percentile / 100)
  return {
    meets,
    line: `${name} ${value === null ? 'undefined' : `${value.toFixed(1)} ms`} ${meets ? '<' : 'not <'} ${term.limitMs} ms`,
    underFloor: values.length < needed ? `${name} needs ${needed} samples, has ${values.length}` : null,
  }
}
