import type { RandomStream } from './random.js'
import type { Distribution } from './types.js'

/** One draw, rounded to a whole number and clamped to the distribution's bounds. */
export function drawWhole(distribution: Distribution, random: RandomStream): number {
  return Math.round(drawReal(distribution, random))
}

/** One draw, clamped but not rounded: think times. */
export function drawReal(distribution: Distribution, random: RandomStream): number {
  switch (distribution.dist) {
    case 'fixed':
      return distribution.value
    case 'uniform':
      return distribution.min + random.uniform() * (distribution.max - distribution.min)
    case 'normal':
      return clamp(distribution.mean + distribution.sd * random.normal(), distribution)
    case 'exponential':
      return clamp(distribution.mean * random.exponential(), distribution)
    case 'lognormal':
      return clamp(lognormal(distribution.mean, distribution.cv, random), distribution)
  }
}

/** 'lognormal mean 60, cv 0.8, 8 to 256'. */
export function distributionLine(distribution: Distribution): string {
  if (distribution.dist === 'fixed') return String(distribution.value)
  if (distribution.dist === 'uniform') return `uniform ${distribution.min} to ${distribution.max}`
  const bounds = distribution.max >= 1_000_000 ? '' : `, ${distribution.min} to ${distribution.max}`
  const spread =
    distribution.dist === 'lognormal'
      ? `, cv ${distribution.cv}`
      : distribution.dist === 'normal'
        ? `, sd ${distribution.sd}`
        : ''
  return `${distribution.dist} mean ${distribution.mean}${spread}${bounds}`
}

/** The mean before clamping. */
export function nominalMean(distribution: Distribution): number {
  if (distribution.dist === 'fixed') return distribution.value
  return distribution.dist === 'uniform' ? (distribution.min + distribution.max) / 2 : distribution.mean
}

/** Parameters of the underlying normal from mean and coefficient of variation: sigma^2 = ln(1 + cv^2), mu = ln(mean) - sigma^2 / 2. */
function lognormal(mean: number, cv: number, random: RandomStream): number {
  const variance = Math.log(1 + cv * cv)
  return Math.exp(Math.log(mean) - variance / 2 + Math.sqrt(variance) * random.normal())
}

function clamp(value: number, bounds: { min: number; max: number }): number {
  return Math.min(bounds.max, Math.max(bounds.min, value))
}
