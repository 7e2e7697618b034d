import { targetHue } from '../charts/chart.js'
import { type ClientShare, clientShare } from '../client.js'
import { contextLines, noticeLines, reasonLines, validityLine } from '../context.js'
import { formatInterval, formatNumber, formatRatio, formatShare } from '../format.js'
import { headline, intervalNote } from '../headline.js'
import { type ReportInput, type TargetView, targetViews } from '../input.js'
import { html, type Markup, raw } from '../markup.js'

/** The finding in words, whether it counts, what it was measured on, and a tile per target. */
export function pageHeader(input: ReportInput): Markup {
  const { manifest } = input.run
  return html`<header>
<p class="kicker">Run ${manifest.id} · ${manifest.startedAt.slice(0, 16).replace('T', ' ')} UTC</p>
<h1>${unbroken(headline(input))}</h1>
<p class="quiet">${[intervalNote(input), validityLine(input)].filter(Boolean).join('. ')}.</p>
${badges(input)}
${reasons(input)}
<div class="tiles">${targetViews(input).map((view, index) => tile(view, index, clientShare(input)))}</div>
</header>`
}

/** An interval stays on one line. */
const unbroken = (text: string): string => text.replace(/, (?=[\d.,]+\])/g, ',\u00a0')

function badges(input: ReportInput): Markup {
  const { summary, run } = input
  const first = run.manifest.targets[0]
  const facts = contextLines(input)
  const fact = (label: string) => facts.filter(([name]) => name === label).map(([, text]) => text)
  const weights = fact('weights').map((text) => `weights: ${text}`)
  const texts = [
    ...fact('device'),
    ...(first === undefined ? [] : [...new Set(run.manifest.targets.map((target) => target.model))]),
    ...weights,
    run.manifest.scenarioLine,
  ]
  return html`<ul class="badges"><li class="${summary.verdict.validity}">${summary.verdict.validity}</li>${
    run.manifest.status === 'complete' ? null : html`<li class="INVALID">PARTIAL</li>`
  }${texts.map((text) => html`<li>${text}</li>`)}</ul>`
}

function reasons(input: ReportInput): Markup | null {
  const lines = reasonLines(input)
  const grave = lines.filter((line) => line.severity !== 'note')
  const notes = [...lines.filter((line) => line.severity === 'note').map((line) => line.text), ...noticeLines(input)]
  return html`${
    grave.length === 0
      ? null
      : html`<ul class="reasons ${grave.some((line) => line.severity === 'invalid') ? 'invalid' : ''}">${grave.map((line) => html`<li>${line.text}<small>Fix: ${line.fix}</small></li>`)}</ul>`
  }${notes.length === 0 ? null : html`<ul class="reasons notes">${notes.map((line) => html`<li>${line}</li>`)}</ul>`}`
}

function tile({ info, summary, throughput }: TargetView, index: number, client: ClientShare): Markup {
  const interval =
    summary === null
      ? ''
      : formatInterval(summary.outputTokensPerSecondLow, summary.outputTokensPerSecondHigh, formatNumber)
  const ratio = throughput === null ? '' : `${formatRatio(throughput.ratio)} of ${throughput.base}`
  const share = summary?.shareOfLimit ?? null
  const limit = share === null ? 'share of the limit: not known' : `${formatShare(share)} of what the device allows`
  return html`<div class="tile" style="--tone:${raw(targetHue(index))}">
<h2>${info.name}</h2>
<p class="figure">${formatNumber(summary?.outputTokensPerSecond ?? null)} <small>output tok/s</small></p>
<p class="minor">${[interval, ratio === '' ? 'base of the comparison' : ratio].filter(Boolean).join(' · ')}</p>
<p class="minor">${limit}</p>
<p class="minor">TTFT p50 ${formatNumber(summary?.ttftP50Ms ?? null)} ms · ITL p50 ${formatNumber(summary?.itlP50Ms ?? null)} ms</p>
<p class="minor">${client.ttft === null ? 'what the client adds to them: not measured' : `to them the client adds ${client.ttft} and ${client.itl} ms`}</p>
</div>`
}
