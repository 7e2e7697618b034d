import { mean, sampleVariance } from 'simple-statistics'
import { studentCdf, studentQuantile } from './student.js'

/** An estimate with its two-sided confidence interval. */
export interface Interval {
  estimate: number
  low: number
  high: number
  n: number
}

/** The mean of run values with its t interval; null under two values (one run has no interval). */
export function meanInterval(values: readonly number[], confidence: number): Interval | null {
  if (values.length < 2) return null
  const estimate = mean([...values])
  const half =
    studentQuantile(0.5 + confidence / 2, values.length - 1) * Math.sqrt(sampleVariance([...values]) / values.length)
  return { estimate, low: estimate - half, high: estimate + half, n: values.length }
}

/** A difference of logs with what a t test needs of it. */
export interface LogDifference {
  mean: number
  standardError: number
  df: number
  n: number
}

/** ln(head / base) per pair: pairs are runs taken next to each other (ABBA), so that drift cancels. Null under two pairs. */
export function pairedLogDifference(base: readonly number[], head: readonly number[]): LogDifference | null {
  const n = Math.min(base.length, head.length)
  if (n < 2) return null
  const differences = Array.from({ length: n }, (_, pair) => Math.log(head[pair]! / base[pair]!))
  return { mean: mean(differences), standardError: Math.sqrt(sampleVariance(differences) / n), df: n - 1, n }
}

/** mean ln(head) - mean ln(base) for unpaired runs: Welch, 1947, with Satterthwaite's degrees of freedom. Null under two runs a side. */
export function welchLogDifference(base: readonly number[], head: readonly number[]): LogDifference | null {
  if (base.length < 2 || head.length < 2) return null
  const logs = [base.map(Math.log), head.map(Math.log)] as const
  const [b, h] = logs.map((side) => sampleVariance(side) / side.length) as [number, number]
  const squared = (b + h) ** 2
  const df =
    squared === 0 ? base.length + head.length - 2 : squared / (b ** 2 / (base.length - 1) + h ** 2 / (head.length - 1))
  return {
    mean: mean(logs[1]) - mean(logs[0]),
    standardError: Math.sqrt(b + h),
    df,
    n: Math.min(base.length, head.length),
  }
}

/** The ratio head / base, from a log difference. */
export function ratioInterval(difference: LogDifference, confidence: number): Interval {
  const half = studentQuantile(0.5 + confidence / 2, difference.df) * difference.standardError
  return {
    estimate: Math.exp(difference.mean),
    low: Math.exp(difference.mean - half),
    high: Math.exp(difference.mean + half),
    n: difference.n,
  }
}

/** One-sided p of "the log difference is greater than `threshold`" (H0: it is not). */
export function exceedsP(difference: LogDifference, threshold: number): number {
  if (difference.standardError === 0) return difference.mean > threshold ? 0 : 1
  return 1 - studentCdf((difference.mean - threshold) / difference.standardError, difference.df)
}

/** Holm, 1979: adjusted p-values in the order given. */
export function holm(pValues: readonly number[]): number[] {
  const order = pValues.map((_, index) => index).sort((a, b) => pValues[a]! - pValues[b]!)
  const adjusted = new Array<number>(pValues.length)
  let floor = 0
  order.forEach((index, rank) => {
    floor = Math.max(floor, Math.min(1, pValues[index]! * (pValues.length - rank)))
    adjusted[index] = floor
  })
  return adjusted
}

/**
 * A distribution-free interval of the q-quantile from order statistics (binomial; David & Nagaraja, Order Statistics, 7.1):
 * the ranks l < u with P(X_(l) <= x_q < X_(u)) >= confidence. Null when the ranks leave the sample. `sorted` ascending.
 */
export function quantileInterval(sorted: readonly number[], q: number, confidence: number): Interval | null {
  const n = sorted.length
  const tail = (1 - confidence) / 2
  let cumulative = 0
  let low = -1
  let high = -1
  let logTerm = n * Math.log1p(-q)
  for (let k = 0; k <= n; k++) {
    cumulative += Math.exp(logTerm)
    if (low < 0 && cumulative > tail) low = k - 1
    if (cumulative >= 1 - tail) {
      high = k
      break
    }
    logTerm += Math.log((n - k) / (k + 1)) + Math.log(q / (1 - q))
  }
  if (low < 0 || high < 0 || high >= n) return null
  return {
    estimate: sorted[Math.min(n - 1, Math.max(0, Math.ceil(q * n) - 1))]!,
    low: sorted[low]!,
    high: sorted[high]!,
    n,
  }
}
