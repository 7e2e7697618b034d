import type { RandomStream } from './random.js'
import type { Arrival, RateStage } from './types.js'

type OpenArrival = Extract<Arrival, { kind: 'open' }>

/**
 * Due times in seconds from the phase's start, ascending: a unit-rate renewal process mapped through the inverse of the cumulative rate
 * (time-change theorem; Cinlar 1975). `limit` null: all arrivals that the stages hold. Not rescaled: the realised rate is what it is.
 */
export function arrivalTimes(arrival: OpenArrival, limit: number | null, random: RandomStream): number[] {
  const times: number[] = []
  const horizon = totalArrivals(arrival.stages)
  let unit = arrival.process === 'constant' ? 0 : unitGap(arrival, random)
  while ((limit === null || times.length < limit) && unit < horizon) {
    times.push(timeAt(arrival.stages, unit))
    unit += unitGap(arrival, random)
  }
  return times
}

/** Mean rate asked over the stages, or over as many of them as `requests` arrivals need. */
export function askedRate(arrival: OpenArrival, requests: number): number {
  const expected = Math.min(requests, totalArrivals(arrival.stages))
  return expected / timeAt(arrival.stages, expected)
}

/** One gap of the unit-rate process: 1; Exp(1); Gamma(shape k, scale 1/k), whose coefficient of variation is 1/sqrt(k). */
function unitGap(arrival: OpenArrival, random: RandomStream): number {
  if (arrival.process === 'constant') return 1
  if (arrival.process === 'poisson') return random.exponential()
  return random.gamma(arrival.burstiness) / arrival.burstiness
}

function totalArrivals(stages: readonly RateStage[]): number {
  return stages.reduce((sum, stage) => sum + stageArrivals(stage), 0)
}

function stageArrivals(stage: RateStage): number {
  return stage.secs === null ? Number.POSITIVE_INFINITY : ((stage.fromRate + stage.toRate) / 2) * stage.secs
}

/** Inverse of the cumulative rate: the time by which `arrivals` are expected. */
function timeAt(stages: readonly RateStage[], arrivals: number): number {
  let start = 0
  let left = arrivals
  for (const [index, stage] of stages.entries()) {
    const held = stageArrivals(stage)
    if (left > held && index < stages.length - 1) {
      left -= held
      start += stage.secs!
      continue
    }
    const slope = stage.secs === null ? 0 : (stage.toRate - stage.fromRate) / stage.secs
    // Root of slope/2 t^2 + fromRate t = left, in the form without cancellation.
    const root = Math.sqrt(Math.max(0, stage.fromRate ** 2 + 2 * slope * left))
    return start + (left === 0 ? 0 : (2 * left) / (stage.fromRate + root))
  }
  return start
}
