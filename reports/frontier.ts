import type { FrontierPoint } from '../src/result/frontier.js'
import { frontierCharts, frontierFinding } from './charts/frontier.js'
import { contextLines } from './context.js'
import { frontierReasons, frontierTable, missedObjectives, validRuns } from './frontier-text.js'
import type { ReportInput } from './input.js'
import { html, type Markup, table } from './markup.js'
import { figure } from './page/figure.js'
import { definitionsSection, downloadsSection } from './page/reference.js'
import { pageShell } from './page/shell.js'
import { renderCharts } from './render.js'

/**
 * The report of a sweep or search: one self-contained file, as that of a single run. `points`: every load of every target;
 * `first`: one of its runs, for what all of them were measured on.
 */
export async function renderFrontierHtml(
  id: string,
  points: readonly FrontierPoint[],
  first: ReportInput,
): Promise<string> {
  const charts = await renderCharts(frontierCharts(points))
  const body = html`<header>
<p class="kicker">Sweep ${id} · ${points.length} runs · ${first.run.manifest.startedAt.slice(0, 16).replace('T', ' ')} UTC</p>
<h1>${frontierFinding(points)}</h1>
<p class="quiet">${validRuns(points)}.</p>
${reasons(points)}
</header>
<section id="frontier"><h2>Throughput against speed per stream</h2>${figure(charts.get('frontier'))}</section>
<section id="load"><h2>Against the load</h2>${figure(charts.get('load'))}</section>
<section id="runs"><h2>Every run</h2>${runsTable(points)}</section>
<section id="environment"><h2>Measured on</h2><dl>${contextLines(first)
    .filter(([label]) => label !== 'plan')
    .map(
      ([label, text]) => html`<dt>${label === 'scenario' ? 'scenario, first load' : label}</dt><dd>${text}</dd>`,
    )}</dl></section>
<section id="definitions"><h2>Definitions and honest limits</h2>${definitionsSection()}</section>
${downloadsSection(null)}`
  return pageShell({
    title: frontierFinding(points),
    sections: SECTIONS,
    body,
    charts,
    id,
    result: { schema: 'pagedbench/frontier@1', rows: points, environment: first.run.manifest.environment },
    requests: null,
  })
}

const SECTIONS: [id: string, label: string][] = [
  ['frontier', 'Frontier'],
  ['load', 'Load'],
  ['runs', 'Runs'],
  ['environment', 'Environment'],
  ['definitions', 'Definitions'],
]

function runsTable(points: readonly FrontierPoint[]): Markup {
  const { head, rows } = frontierTable(points)
  const missed = missedObjectives(points)
  return html`${table(
    head,
    rows.map((row) => row.map((cell, column) => (column === 9 ? html`<span class="${cell}">${cell}</span>` : cell))),
    [1, 8, 9],
  )}${missed.length === 0 ? null : html`<details class="more"><summary>Objectives missed</summary><ul>${missed.map((line) => html`<li>${line}</li>`)}</ul></details>`}`
}

/** Why runs do not count, worst first, each with its fix. */
function reasons(points: readonly FrontierPoint[]): Markup | null {
  const grave = frontierReasons(points).filter((line) => line.severity !== 'note')
  if (grave.length === 0) return null
  const invalid = grave.some((line) => line.severity === 'invalid') ? 'invalid' : ''
  return html`<ul class="reasons ${invalid}">${grave.map((line) => html`<li>${line.text}<small>Fix: ${line.fix}</small></li>`)}</ul>`
}
