import { parse, type Spec, View } from 'vega'
import { compile, type TopLevelSpec } from 'vega-lite'
import type { Chart } from './charts/chart.js'

export interface RenderedChart {
  chart: Chart
  /** Drawn at build time: shown without scripts, in print and in mail. */
  svg: string
  /** The compiled Vega specification, for the page's own view of it. */
  vega: Spec
}

/** Draws charts, in their order, by id. */
export async function renderCharts(charts: readonly Chart[]): Promise<Map<string, RenderedChart>> {
  const rendered = new Map<string, RenderedChart>()
  for (const chart of charts) rendered.set(chart.id, await renderChart(chart))
  return rendered
}

/** Compiles a chart and draws it without a browser. Throws on anything the compiler warns of: a warning is a wrong picture. */
export async function renderChart(chart: Chart): Promise<RenderedChart> {
  const vega = compile(chart.spec as unknown as TopLevelSpec, { logger: strictLogger(chart.id) }).spec
  const view = new View(parse(vega), { renderer: 'none' })
  const svg = await view.toSVG()
  view.finalize()
  return { chart, svg: tidy(svg, chart.id), vega }
}

/** The page sizes the drawing by its viewBox and names it itself; attributes that repeat their default go; clip paths get names of their own chart, the same every time. */
function tidy(svg: string, id: string): string {
  const clips = new Map<string, string>()
  const clipName = (name: string): string => {
    const known = clips.get(name) ?? `${id}-clip-${clips.size}`
    clips.set(name, known)
    return known
  }
  // One font for the whole drawing: Vega repeats it in every text.
  const font = / font-family="[^"]*"/.exec(svg)?.[0] ?? ''
  const bare = font === '' ? svg : svg.replaceAll(font, '')
  return bare
    .replace(/^<svg[^>]*?viewBox="([^"]*)"[^>]*>/, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="$1"${font}>`)
    .replace(/ (?:role|aria-roledescription|aria-label|aria-hidden|pointer-events|class)="[^"]*"/g, '')
    .replace(
      / (?:stroke-miterlimit="10"|font-weight="(?:400|normal)"|font-style="normal"|opacity="1"|stroke-width="1")/g,
      '',
    )
    .replace(/^<svg /, '<svg aria-hidden="true" ')
    .replace(/ (?:d|transform|x|y|x1|x2|y1|y2|width|height)="[^"]*"/g, (attribute) =>
      attribute.replace(/(\.\d{2})\d+/g, '$1'),
    )
    .replace(
      /(clip-path="url\(#|<clipPath id=")(clip\d+)/g,
      (_match, before: string, name: string) => before + clipName(name),
    )
}

function strictLogger(id: string) {
  const fail = (...messages: unknown[]): never => {
    throw new Error(`chart ${id}: ${messages.join(' ')}`)
  }
  const logger = { level: () => logger, error: fail, warn: fail, info: () => logger, debug: () => logger }
  return logger as unknown as NonNullable<Parameters<typeof compile>[1]>['logger'] & object
}
