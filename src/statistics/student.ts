import { gammaln } from 'simple-statistics'

/**
 * Student's t distribution by the regularised incomplete beta function (continued fraction, Lentz's method: Press et al.,
 * Numerical Recipes, 3rd ed., section 6.4). simple-statistics' own table-based normal is too coarse for intervals.
 */

/** P(T <= t) with `df` degrees of freedom (not necessarily whole). */
export function studentCdf(t: number, df: number): number {
  const tail = 0.5 * incompleteBeta(df / 2, 0.5, df / (df + t * t))
  return t >= 0 ? 1 - tail : tail
}

/** The q-quantile, 0 < q < 1, by bisection on the CDF: exact to 1e-10. */
export function studentQuantile(q: number, df: number): number {
  if (q === 0.5) return 0
  if (q < 0.5) return -studentQuantile(1 - q, df)
  let high = 1
  while (studentCdf(high, df) < q) high *= 2
  let low = 0
  while (high - low > 1e-11 * Math.max(1, high)) {
    const middle = (low + high) / 2
    if (studentCdf(middle, df) < q) low = middle
    else high = middle
  }
  return (low + high) / 2
}

/** I_x(a, b), the regularised incomplete beta function. */
export function incompleteBeta(a: number, b: number, x: number): number {
  if (x <= 0) return 0
  if (x >= 1) return 1
  const front = Math.exp(gammaln(a + b) - gammaln(a) - gammaln(b) + a * Math.log(x) + b * Math.log1p(-x))
  if (x < (a + 1) / (a + b + 2)) return (front * betaFraction(a, b, x)) / a
  return 1 - (front * betaFraction(b, a, 1 - x)) / b
}

function betaFraction(a: number, b: number, x: number): number {
  const tiny = 1e-300
  let c = 1
  let d = 1 / nonZero(1 - ((a + b) * x) / (a + 1), tiny)
  let fraction = d
  for (let m = 1; m <= 300; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
    d = 1 / nonZero(1 + even * d, tiny)
    c = nonZero(1 + even / c, tiny)
    fraction *= d * c
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))
    d = 1 / nonZero(1 + odd * d, tiny)
    c = nonZero(1 + odd / c, tiny)
    const step = d * c
    fraction *= step
    if (Math.abs(step - 1) < 1e-15) break
  }
  return fraction
}

function nonZero(value: number, tiny: number): number {
  return Math.abs(value) < tiny ? tiny : value
}
