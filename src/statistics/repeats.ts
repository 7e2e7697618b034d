import { meanInterval } from './interval.js'

export interface RepeatRule {
  min: number
  max: number
  /** Stop once every target's 95 % interval is narrower than +- this share of its mean; null: always `max`. */
  untilCi95: number | null
}

export interface RepeatDecision {
  stop: boolean
  /** 'output tok/s within +-1.2 % (static), +-0.8 % (paged), asked +-2 %', and what follows from it. */
  why: string
}

/** After `done` repeats: enough, or another one? `blockMeans`: the headline metric's value of each block so far, by target. */
export function decideRepeats(
  rule: RepeatRule,
  done: number,
  metric: string,
  blockMeans: readonly { target: string; values: readonly number[] }[],
): RepeatDecision {
  const { untilCi95 } = rule
  if (untilCi95 === null) return { stop: done >= rule.max, why: `${rule.max} repeats were asked for` }
  const widths = blockMeans.map(({ target, values }) => ({ target, half: relativeHalfWidth(values) }))
  const shown = widths
    .map(({ target, half }) => `${half === null ? 'no interval yet' : `±${(100 * half).toFixed(1)} %`} (${target})`)
    .join(', ')
  const evidence = `95 % interval of ${metric}: ${shown}; asked ±${(100 * untilCi95).toFixed(1)} %`
  const narrow = widths.length > 0 && widths.every(({ half }) => half !== null && half < untilCi95)
  if (done < rule.min) return { stop: false, why: `${evidence}; at least ${rule.min} repeats` }
  if (narrow) return { stop: true, why: `${evidence}: narrow enough` }
  if (done >= rule.max)
    return { stop: true, why: `${evidence}: not reached, and ${rule.max} repeats are the most allowed` }
  return { stop: false, why: `${evidence}: another repeat` }
}

/** Half width of the 95 % t interval over the mean; null under two values or for a mean of 0. */
function relativeHalfWidth(values: readonly number[]): number | null {
  const interval = meanInterval(values, 0.95)
  return interval === null || interval.estimate === 0
    ? null
    : (interval.high - interval.low) / 2 / Math.abs(interval.estimate)
}
