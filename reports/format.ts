/** Numbers as text: three significant digits, grouped thousands, the unit apart. One place, so that every report prints alike. */
export const ABSENT = '–'

export function formatNumber(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return ABSENT
  const size = Math.abs(value)
  const digits =
    size >= 100 || value === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : Math.min(6, 2 - Math.floor(Math.log10(size)))
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** A ratio: '2.31x', '0.018x'. */
export function formatRatio(value: number | null): string {
  if (value === null) return ABSENT
  return value < 0.1
    ? `${formatNumber(value)}x`
    : `${value.toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 })}x`
}

/** A share from 0 to 1: '31.4%'. */
export function formatShare(value: number | null): string {
  if (value === null) return ABSENT
  const percent = value * 100
  return `${percent.toFixed(percent >= 99.95 || percent === 0 ? 0 : 1)}%`
}

export function formatInterval(low: number | null, high: number | null, format: (value: number) => string): string {
  return low === null || high === null ? '' : `[${format(low).replace(/x$/, '')}, ${format(high).replace(/x$/, '')}]`
}

/** The values of several blocks: one figure when they print alike, else 'lowest to highest'. Null when there is none. */
export function formatSpan(values: readonly (number | null)[], format: (value: number) => string): string {
  const present = values.filter((value) => value !== null)
  if (present.length === 0) return ABSENT
  const low = format(Math.min(...present))
  const high = format(Math.max(...present))
  return low === high ? low : `${low} to ${high}`
}

export function formatBytes(bytes: number | null): string {
  if (bytes === null) return ABSENT
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3))
  return `${formatNumber(bytes / 1000 ** power)} ${units[power]}`
}

export function formatCount(count: number): string {
  return count.toLocaleString('en-US')
}

/** 'block' or '3 blocks'. */
export function counted(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`
}
