/** A reading of Prometheus' text exposition format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). */
export interface Exposition {
  /** Sum over all label sets that carry every label of `labels`; null when no sample has the name. */
  total(name: string, labels?: Readonly<Record<string, string>>): number | null
  has(prefix: string): boolean
}

interface Sample {
  labels: string
  value: number
}

/** Lines that are no sample (comments, damage, NaN) are passed over. */
export function parseExposition(text: string): Exposition {
  const samples = new Map<string, Sample[]>()
  for (const line of text.split('\n')) {
    const parts = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?[ \t]+(\S+)/.exec(line)
    if (parts === null) continue
    const value = Number(parts[3])
    if (!Number.isFinite(value)) continue
    const name = parts[1]!
    const known = samples.get(name)
    if (known === undefined) samples.set(name, [{ labels: parts[2] ?? '', value }])
    else known.push({ labels: parts[2] ?? '', value })
  }
  return {
    total(name, labels = {}) {
      const found = (samples.get(name) ?? []).filter((sample) =>
        Object.entries(labels).every(([key, value]) => `,${sample.labels},`.includes(`,${key}="${value}",`)),
      )
      return found.length === 0 ? null : found.reduce((sum, sample) => sum + sample.value, 0)
    },
    has: (prefix) => [...samples.keys()].some((name) => name.startsWith(prefix)),
  }
}
