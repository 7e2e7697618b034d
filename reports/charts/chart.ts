/**
 * A chart of the report: a Vega-Lite specification with what stands around it. Names of targets appear in specifications only as
 * data and titles, never inside an expression.
 */
export interface Chart {
  /** Anchor and key: 'throughput'. */
  id: string
  /** The finding, with units; n and direction in the note. */
  title: string
  note: string
  spec: ChartSpec
  legend: LegendEntry[]
  /** The same figures as text, for those who cannot see or hover. */
  table: ChartTable
  /** Time charts: data sets whose values at the pointer are read out together, on the shared x scale. */
  readout: { datasets: { name: string; label: string }[]; unit: string } | null
}

/** A Vega-Lite specification as data; the compiler checks it, and reports/render.ts treats its warnings as errors. */
export type ChartSpec = Record<string, unknown>

export interface LegendEntry {
  label: string
  /** CSS colour, or 'url(#hatch)'. */
  color: string
  /** Value of the field `s` that this entry shows and hides; null: it only explains. */
  series: string | null
}

export interface ChartTable {
  head: string[]
  rows: string[][]
}

/** Drawing width of a full-width chart with an axis at its left, px: it fills the page's column. */
export const FULL_WIDTH = 936

/** Rows of `s` that the legend has switched off are left out. Goes with the parameter of `withToggles`. */
export const NOT_HIDDEN = { filter: 'indexof(hidden, datum.s) < 0' }

/** The parts common to all charts: transparent ground, colours as CSS variables, quiet axes. */
export function withTheme(spec: ChartSpec): ChartSpec {
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    background: null,
    padding: { left: 2, right: 12, top: 4, bottom: 2 },
    params: [{ name: 'hidden', value: [] }, ...((spec['params'] as unknown[]) ?? [])],
    ...without(spec, 'params'),
    config: THEME,
  }
}

/** `color` by target. */
export function targetColor(count: number): Record<string, unknown> {
  const domain = Array.from({ length: count }, (_, index) => `t${index}`)
  return {
    field: 's',
    type: 'nominal',
    legend: null,
    scale: { domain, range: domain.map((_, index) => targetHue(index)) },
  }
}

/** Targets keep one colour through the whole report. */
export function targetHue(index: number): string {
  return `var(--t${index % 6})`
}

/** Drag and shift-wheel along x; double-click resets. `views`: names of the panels that move together. */
export function zoomX(views?: string[]): Record<string, unknown> {
  return {
    name: 'zoom',
    ...(views === undefined ? {} : { views }),
    select: { type: 'interval', encodings: ['x'], zoom: 'wheel![event.shiftKey]', clear: 'dblclick' },
    bind: 'scales',
  }
}

/** Smallest and largest; [0, 0] of nothing. Not Math.max(...values): that overflows the stack at some 100,000. */
export function extent(values: Iterable<number>): [low: number, high: number] {
  let low = Number.POSITIVE_INFINITY
  let high = Number.NEGATIVE_INFINITY
  for (const value of values) {
    if (value < low) low = value
    if (value > high) high = value
  }
  return low <= high ? [low, high] : [0, 0]
}

/** Four significant digits: more is noise in a picture, and bytes in a file. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4))
}

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'

const THEME = {
  font: FONT,
  view: { stroke: null },
  axis: {
    labelColor: 'var(--muted)',
    titleColor: 'var(--muted)',
    gridColor: 'var(--grid)',
    domainColor: 'var(--axis)',
    tickColor: 'var(--axis)',
    labelFontSize: 11,
    titleFontSize: 11,
    titleFontWeight: 400,
    tickSize: 4,
    labelPadding: 4,
  },
  axisY: { domain: false, ticks: false, minExtent: 44, maxExtent: 44 },
  axisX: { grid: false },
  title: {
    anchor: 'start',
    fontSize: 12,
    fontWeight: 600,
    color: 'var(--fg)',
    offset: 6,
    subtitleColor: 'var(--muted)',
  },
  text: { fill: 'var(--fg)', fontSize: 12 },
  concat: { spacing: 14 },
}

function without(spec: ChartSpec, key: string): ChartSpec {
  return Object.fromEntries(Object.entries(spec).filter(([name]) => name !== key))
}
