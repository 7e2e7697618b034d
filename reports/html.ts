import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { allCharts } from './charts/all.js'
import { cleanLine, jsonForHtml } from './clean.js'
import { headline } from './headline.js'
import type { ReportInput } from './input.js'
import { html, type Markup, raw } from './markup.js'
import { pageAssets } from './page/assets.js'
import { figure, figurePair } from './page/figure.js'
import { answersSection, comparisonSection, errorsSection, limitSection } from './page/findings.js'
import { pageHeader } from './page/header.js'
import { definitionsSection, downloadsSection, environmentSection } from './page/reference.js'
import { packRequests, type ReportData } from './page/requests.js'
import { type RenderedChart, renderChart } from './render.js'

export interface HtmlOptions {
  /** What of the raw records goes along: none, requests without per-token arrays, or everything. */
  data: ReportData
  /** Prompts and answers stay out unless asked for. */
  includeText: boolean
}

/**
 * The report as one file that needs no network, now or in years: every chart is drawn already, and its script only adds to it.
 * Its policy forbids every request; names and texts of the run are escaped and never executed. Throws Failure('usage') beyond 10 MB.
 */
export async function renderHtml(
  input: ReportInput,
  options: HtmlOptions = { data: 'auto', includeText: false },
): Promise<string> {
  const charts = new Map<string, RenderedChart>()
  for (const chart of allCharts(input)) charts.set(chart.id, await renderChart(chart))
  const requests = packRequests(input.run, options.data, options.includeText)
  const { css, script } = pageAssets()
  const policy = [
    "default-src 'none'",
    `script-src 'sha256-${createHash('sha256').update(script).digest('base64')}'`,
    "style-src 'unsafe-inline'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ')
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${raw(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${headline(input)}</title>
<link rel="icon" href="data:,">
<style>${raw(css)}</style>
</head>
<body>
${hatch()}
${bar(input)}
<main>
${pageHeader(input)}
${sections(input, charts)}
${downloadsSection(requests)}
${footer(input)}
</main>
<div id="tip" role="tooltip" hidden></div>
<script type="application/json" id="data">${raw(jsonForHtml({ manifest: input.run.manifest, summary: input.summary }))}</script>
<script type="text/plain" id="charts">${raw(packCharts(charts))}</script>
${requests === null ? null : html`<script type="text/plain" id="requests">${raw(requests.base64)}</script>`}
<script>${raw(script)}</script>
</body>
</html>
`
  return page.text
}

const SECTIONS: [id: string, label: string][] = [
  ['comparison', 'Comparison'],
  ['speed', 'Speed'],
  ['distributions', 'Latency'],
  ['requests-over-time', 'Requests'],
  ['time', 'Time line'],
  ['limit', 'Limit'],
  ['checks', 'Checks'],
  ['environment', 'Environment'],
]

function sections(input: ReportInput, charts: ReadonlyMap<string, RenderedChart>): Markup {
  const one = (id: string) => figure(charts.get(id))
  const section = (id: string, title: string, ...content: (Markup | null)[]) =>
    content.every((part) => part === null) ? null : html`<section id="${id}"><h2>${title}</h2>${content}</section>`
  return html`
${section('comparison', 'Comparison', comparisonSection(input))}
${section('speed', 'Throughput and latency', one('throughput'), one('latency'))}
${section('distributions', 'How latency is distributed', figurePair(charts.get('ttft'), charts.get('itl')))}
${section('requests-over-time', 'Where the time of the requests goes', one('gantt'), one('occupancy'))}
${section('time', 'What happened when', one('timeline'))}
${section('load', 'The load', one('lengths'))}
${section('limit', 'Share of the physical limit', limitSection(input))}
${section('checks', 'Errors and answers', errorsSection(input), answersSection(input))}
${section('environment', 'Environment and command', environmentSection(input))}
${section('definitions', 'Definitions and honest limits', definitionsSection())}`
}

function bar(input: ReportInput): Markup {
  return html`<nav class="bar" aria-label="Sections"><div><strong>pagedbench</strong>${SECTIONS.map(([id, label]) => html`<a href="#${id}">${label}</a>`)}<button id="theme" class="needs-script" type="button" aria-label="Switch between light and dark">Dark</button></div></nav><!-- ${raw(input.run.manifest.schema)} -->`
}

/** The one pattern that all drawings refer to: computed for nothing. */
function hatch(): Markup {
  return raw(
    '<svg class="defs" aria-hidden="true"><defs><pattern id="hatch" patternUnits="userSpaceOnUse" width="4.2" height="4.2" patternTransform="rotate(45)"><rect width="4.2" height="4.2" fill="var(--waste-ground)"/><rect width="1.6" height="4.2" fill="var(--waste)"/></pattern></defs></svg>',
  )
}

function footer({ run }: ReportInput): Markup {
  const { manifest } = run
  return html`<footer>Made by bench ${manifest.environment.benchVersion} from the stored raw records of run ${manifest.id}. Every figure on this page can be computed again from them: <code>bench report ${cleanLine(manifest.id, 80)}</code>. This page makes no network request.</footer>`
}

/** The compiled specifications, gzip and base64: the summary stays readable, this need not. */
function packCharts(charts: ReadonlyMap<string, RenderedChart>): string {
  const specs = Object.fromEntries([...charts].map(([id, { chart, vega }]) => [id, { vega, readout: chart.readout }]))
  return gzipSync(JSON.stringify(specs), { level: 9 }).toString('base64')
}
