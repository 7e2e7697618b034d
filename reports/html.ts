import { allCharts } from './charts/all.js'
import { cleanLine } from './clean.js'
import { clientShare } from './client.js'
import { headline } from './headline.js'
import type { ReportInput } from './input.js'
import { html, type Markup } from './markup.js'
import { detailSections } from './page/details.js'
import { figure, figurePair } from './page/figure.js'
import { answersSection, comparisonSection, errorsSection, limitSection } from './page/findings.js'
import { pageHeader } from './page/header.js'
import { importedSection } from './page/imported.js'
import { definitionsSection, downloadsSection, environmentSection } from './page/reference.js'
import { packRequests, type ReportData } from './page/requests.js'
import { pageShell } from './page/shell.js'
import { type RenderedChart, renderCharts } from './render.js'

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
  const charts = await renderCharts(allCharts(input))
  const requests = packRequests(input.run, options.data, options.includeText)
  return pageShell({
    title: headline(input),
    sections: SECTIONS,
    body: html`${pageHeader(input)}${sections(input, charts)}${downloadsSection(requests)}${footer(input)}`,
    charts,
    id: input.run.manifest.id,
    result: { manifest: input.run.manifest, summary: input.summary },
    requests: requests === null ? null : requests.base64,
  })
}

const SECTIONS: [id: string, label: string][] = [
  ['comparison', 'Comparison'],
  ['speed', 'Speed'],
  ['distributions', 'Latency'],
  ['ttft-parts', 'TTFT'],
  ['requests-over-time', 'Requests'],
  ['time', 'Time line'],
  ['limit', 'Limit'],
  ['checks', 'Checks'],
  ['environment', 'Environment'],
]

function sections(input: ReportInput, charts: ReadonlyMap<string, RenderedChart>): Markup {
  const one = (id: string) => figure(charts.get(id))
  const details = detailSections(input)
  const detail = (id: string) => details.get(id) ?? null
  const section = (id: string, title: string, ...content: (Markup | null)[]) =>
    content.every((part) => part === null) ? null : html`<section id="${id}"><h2>${title}</h2>${content}</section>`
  return html`
${section('comparison', 'Comparison', comparisonSection(input))}
${section('speed', 'Throughput and latency', one('throughput'), one('latency'), one('forest'))}
${section('distributions', 'How latency is distributed', figurePair(charts.get('ttft'), charts.get('itl')), clientNote(input), detail('other-tools'), importedSection(input))}
${section('ttft-parts', 'Where TTFT goes', one('ttft-parts'), detail('ttft-parts'), detail('server-split'), ttftNote(input))}
${section('requests-over-time', 'Where the time of the requests goes', one('gantt'), one('occupancy'), detail('engine-time'))}
${section('time', 'What happened when', one('timeline'), detail('device'))}
${section('load', 'The load', one('lengths'))}
${section('limit', 'Share of the physical limit', limitSection(input), detail('request-ceiling'))}
${section('checks', 'Errors and answers', errorsSection(input), answersSection(input))}
${section('environment', 'Environment and command', environmentSection(input))}
${section('definitions', 'Definitions and honest limits', definitionsSection())}`
}

function clientNote(input: ReportInput): Markup {
  return html`<p class="quiet">${capitalised(clientShare(input).sentence)}.</p>`
}

/** Why there is no split, when there is none. */
function ttftNote({ summary }: ReportInput): Markup | null {
  const told = summary.blocks.some((block) => block.ttftSplit || block.serverSplit)
  return told
    ? null
    : html`<p class="quiet">Nobody told: engines of ours write a step trace, other servers may show /metrics; this run has neither.</p>`
}

const capitalised = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

function footer({ run }: ReportInput): Markup {
  const { manifest } = run
  return html`<footer>Made by bench ${manifest.environment.benchVersion} from the stored raw records of run ${manifest.id}. Every figure on this page can be computed again from them: <code>bench report ${cleanLine(manifest.id, 80)}</code>. This page makes no network request.</footer>`
}
