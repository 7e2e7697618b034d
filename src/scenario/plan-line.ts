import type { PlanRow } from '../result/schema.js'
import { distributionLine } from './lengths.js'
import type { Arrival, Scenario } from './types.js'

/** 'chat-cpu: 80 requests after 16 of warm-up; in 58 (8 to 201; lognormal mean 60, cv 0.8, 8 to 256), out ...; closed loop of 16'. */
export function planLine(
  scenario: Scenario,
  rows: readonly PlanRow[],
  askedRate: number | null,
  realisedRate: number | null,
): string {
  const measured = rows.filter((row) => row.phase === 'measure')
  const warmup = rows.length - measured.length
  const { shapes, kind } = scenario.workload
  const law = (side: 'input' | 'output') =>
    kind !== 'synthetic' ? kind : shapes.length > 1 ? `mix of ${shapes.length}` : distributionLine(shapes[0]![side])
  const input = spread(
    measured.map((row) => row.inputTokens),
    law('input'),
  )
  const output = spread(
    measured.map((row) => row.outputTokens),
    law('output'),
  )
  return (
    `${scenario.name}: ${measured.length} requests after ${warmup} of warm-up; in ${input}, out ${output}; ` +
    arrivalLine(scenario.load.arrival, askedRate, realisedRate)
  )
}

function spread(lengths: readonly number[], law: string): string {
  if (lengths.length === 0) return 'none'
  const low = Math.min(...lengths)
  const high = Math.max(...lengths)
  if (low === high) return String(low)
  const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length
  return `${Math.round(mean)} (${low} to ${high}; ${law})`
}

function arrivalLine(arrival: Arrival, askedRate: number | null, realisedRate: number | null): string {
  if (arrival.kind === 'closed') {
    const wave = arrival.staggerMs === 0 ? '' : `, first wave over ${arrival.staggerMs} ms`
    return `closed loop of ${arrival.concurrency}${wave}`
  }
  if (arrival.kind === 'replay') {
    return `replay of a trace, its times x ${arrival.scale} (${askedRate?.toFixed(3)}/s)`
  }
  const realised = realisedRate === null ? '' : `, realised ${realisedRate.toFixed(3)}/s`
  const name = arrival.process === 'gamma' ? `gamma (burstiness ${arrival.burstiness})` : arrival.process
  return `${name} arrivals at ${askedRate?.toFixed(3)}/s${realised}`
}
