import type { LegendEntry } from '../charts/chart.js'
import { html, type Markup, raw, table } from '../markup.js'
import type { RenderedChart } from '../render.js'

/** A chart with its finding, legend, drawing, the same figures as a table, and its tools. Null when there is no chart. */
export function figure(rendered: RenderedChart | undefined): Markup | null {
  if (rendered === undefined) return null
  const { chart, svg } = rendered
  const { id, title, note } = chart
  const naturalWidth = Number(/viewBox="[\d.-]+ [\d.-]+ ([\d.]+)/.exec(svg)?.[1] ?? 1000)
  const zooms = JSON.stringify(chart.spec).includes('"zoom"')
  return html`<figure id="chart-${id}" data-chart="${id}" aria-labelledby="title-${id}">
<figcaption><h3 id="title-${id}">${title}</h3><p>${note}</p></figcaption>
${legend(chart.legend)}
<div class="plot" role="img" aria-label="${title}. ${note}">${raw(svg.replace('<svg ', `<svg style="max-width:${Math.ceil(naturalWidth)}px;--natural:${Math.ceil(naturalWidth)}px" `))}</div>
<div class="tools"><details><summary>Table</summary>${table(chart.table.head, chart.table.rows)}</details><span class="needs-script">${['svg', 'csv', 'spec'].map((kind) => html`<button type="button" data-save="${kind}">${kind.toUpperCase().replace('SPEC', 'Spec')}</button> `)}</span>${zooms ? html`<span class="hint needs-script">drag, shift + wheel; double-click resets</span>` : null}</div>
</figure>`
}

export function figurePair(left: RenderedChart | undefined, right: RenderedChart | undefined): Markup | null {
  const figures = [figure(left), figure(right)].filter((entry) => entry !== null)
  return figures.length === 0 ? null : html`<div class="pair">${figures}</div>`
}

function legend(entries: readonly LegendEntry[]): Markup | null {
  if (entries.length === 0) return null
  return html`<ul class="legend">${entries.map((entry) => html`<li>${legendItem(entry)}</li>`)}</ul>`
}

function legendItem({ label, color, series }: LegendEntry): Markup {
  const swatch = color.startsWith('url') ? html`<i class="hatch"></i>` : html`<i style="--tone:${raw(color)}"></i>`
  return series === null
    ? html`<span>${swatch}${label}</span>`
    : html`<button type="button" disabled aria-pressed="true" data-series="${series}">${swatch}${label}</button>`
}
