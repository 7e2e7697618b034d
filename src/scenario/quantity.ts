/** Quantities as people write them in YAML, parsed to base units. Each returns null when the text is not of its kind. */

const SECONDS: Record<string, number> = { ms: 1e-3, s: 1, sec: 1, m: 60, min: 60, h: 3600 }

/** '120s', '2m', '500ms', '1h' or a plain number of seconds -> seconds. */
export function parseSeconds(value: unknown): number | null {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : null
  const match = typeof value === 'string' ? /^\s*(\d+(?:\.\d+)?)\s*(ms|s|sec|m|min|h)\s*$/.exec(value) : null
  return match === null ? null : Number(match[1]) * SECONDS[match[2]!]!
}

/** '8/s', '90/m' or a plain number of requests a second -> requests/s. */
export function parseRate(value: unknown): number | null {
  if (typeof value === 'number') return Number.isFinite(value) && value > 0 ? value : null
  const match = typeof value === 'string' ? /^\s*(\d+(?:\.\d+)?)\s*\/\s*(s|m|min|h)\s*$/.exec(value) : null
  if (match === null) return null
  const rate = Number(match[1]) / SECONDS[match[2]!]!
  return rate > 0 ? rate : null
}

/** '2x' (times `unit`, mostly the concurrency) or a plain count -> whole requests. */
export function parseCount(value: unknown, unit: number): number | null {
  if (typeof value === 'number') return Number.isInteger(value) && value >= 0 ? value : null
  const match = typeof value === 'string' ? /^\s*(\d+(?:\.\d+)?)\s*x\s*$/.exec(value) : null
  return match === null ? null : Math.ceil(Number(match[1]) * unit)
}

/** '0.1%' or '<0.1%' or a share between 0 and 1 -> share. */
export function parseShare(value: unknown): number | null {
  if (typeof value === 'number') return value >= 0 && value <= 1 ? value : null
  const match = typeof value === 'string' ? /^\s*<?=?\s*(\d+(?:\.\d+)?)\s*%\s*$/.exec(value) : null
  if (match === null) return null
  const share = Number(match[1]) / 100
  return share <= 1 ? share : null
}

/** 'p99<2000ms', 'p95 < 2s', '200ms' (p99) or a number of milliseconds (p99). */
export function parseLimit(value: unknown): { percentile: number; limitMs: number } | null {
  if (typeof value === 'number') return value > 0 ? { percentile: 99, limitMs: value } : null
  if (typeof value !== 'string') return null
  const match = /^\s*(?:p(\d+(?:\.\d+)?)\s*<=?\s*)?(\d+(?:\.\d+)?)\s*(ms|s)\s*$/.exec(value)
  if (match === null) return null
  const percentile = match[1] === undefined ? 99 : Number(match[1])
  if (percentile <= 0 || percentile >= 100) return null
  return { percentile, limitMs: Number(match[2]) * (match[3] === 's' ? 1000 : 1) }
}

/** '95% confidence below 2%': 'ci95<2%' -> 0.02. */
export function parseCi95(value: unknown): number | null {
  const match = typeof value === 'string' ? /^\s*ci95\s*<\s*(\d+(?:\.\d+)?)\s*%\s*$/.exec(value) : null
  return match === null ? null : Number(match[1]) / 100
}
