import { OUTCOMES, type Outcome } from '../../src/result/schema.js'
import { cleanLine } from '../clean.js'
import { comparisonTable } from '../comparison-table.js'
import { formatBytes, formatCount, formatInterval, formatNumber, formatRatio, formatShare } from '../format.js'
import { type ReportInput, targetViews } from '../input.js'
import { html, type Markup, table } from '../markup.js'

/** The comparison table, why a cell is a dash, and every compared metric with its interval. */
export function comparisonSection(input: ReportInput): Markup {
  const { targets, rows, footnotes } = comparisonTable(input)
  const { comparisons } = input.summary
  const label = (row: (typeof rows)[number]) =>
    html`${row.label}<small>${row.better === null ? row.meaning : `${row.meaning}; ${row.better} is better`}</small>`
  return html`${table(
    ['', ...targets],
    rows.map((row) => [
      label(row),
      ...row.cells.map((cell) => (row.label === 'validity' ? html`<span class="${cell}">${cell}</span>` : cell)),
    ]),
  )}
${footnotes.length === 0 ? null : html`<p class="quiet">–: ${footnotes.join('; ')}.</p>`}
${
  comparisons.length === 0
    ? null
    : html`<details><summary>All compared metrics: ratio head / base, interval, verdict</summary>${table(
        ['metric', 'head / base', 'base', 'head', 'unit', 'ratio', 'interval', 'n', 'verdict'],
        comparisons.map((row) => [
          row.metric,
          `${row.head} / ${row.base}`,
          formatNumber(row.baseValue),
          formatNumber(row.headValue),
          row.unit,
          formatRatio(row.ratio),
          formatInterval(row.ratioLow, row.ratioHigh, formatRatio),
          row.n,
          row.note === null ? row.verdict : `${row.verdict}: ${row.note}`,
        ]),
        [1, 4, 8],
      )}<p class="quiet">Failing to prove a regression is no proof of equality; only “equivalent” makes that claim: the whole interval lies within the margin.</p></details>`
}`
}

/** Achieved throughput over what the ceilings allow, with the formula and what went into it. */
export function limitSection(input: ReportInput): Markup {
  const ceilings = input.run.manifest.environment.ceilings
  const views = targetViews(input)
  return html`<p>A decode step over <var>b</var> requests in flight, of mean context <var>c</var>, reads all weights once (or computes on them, whichever
takes longer) and reads every sequence’s keys and values; uncached prompt tokens have to be computed too. A window that gave <var>T</var> output
tokens for <var>P</var> uncached prompt tokens therefore takes at least</p>
<pre>t(b)  = max(W / BW, b·F / PK) + b·c·k / BW
t_min = (T / b)·t(b) + P·F / PK          limit = T / t_min          share = achieved / limit</pre>
<p>W: bytes of weights read per step; k: bytes of keys and values per token; F: operations per token; BW and PK: bandwidth and rate measured
on this device, not taken from a data sheet (roofline model, Williams et al. 2009).</p>
${table(
  ['target', 'achieved tok/s', 'limit tok/s', 'share', 'W', 'k per token', 'F per token'],
  views.map(({ info, summary, blocks }) => [
    info.name,
    formatNumber(summary?.outputTokensPerSecond ?? null),
    formatNumber(blocks.find((block) => block.limitTokensPerSecond !== null)?.limitTokensPerSecond ?? null),
    formatShare(summary?.shareOfLimit ?? null),
    formatBytes(info.decodeWeightBytes),
    formatBytes(info.kvBytesPerToken),
    info.flopsPerToken === null ? '–' : `${formatNumber(info.flopsPerToken / 1e9)} GFLOP`,
  ]),
)}
<p class="quiet">${
    ceilings === null
      ? 'No ceiling was measured on this device, so no share can be given: run bench doctor.'
      : `Measured ceilings: read ${formatNumber(ceilings.readGBs)} GB/s, copy ${formatNumber(ceilings.copyGBs)} GB/s, matrix product ${formatNumber(ceilings.gemmTflops)} TFLOP/s.`
  }</p>`
}

/** Every request ended in exactly one outcome. */
export function errorsSection(input: ReportInput): Markup {
  const views = targetViews(input)
  const seen = (Object.keys(OUTCOMES) as Outcome[]).filter((outcome) =>
    views.some(({ blocks }) => blocks.some((block) => (block.outcomes[outcome] ?? 0) > 0)),
  )
  const count = (view: (typeof views)[number], outcome: string) =>
    formatCount(view.blocks.reduce((sum, block) => sum + (block.outcomes[outcome] ?? 0), 0))
  const samples = sampleDetails(input)
  return html`<h3>Requests by outcome</h3>
${table(
  ['outcome', ...views.map((view) => view.info.name), 'meaning'],
  seen.map((outcome) => [outcome, ...views.map((view) => count(view, outcome)), OUTCOMES[outcome]]),
  [views.length + 1],
)}
${samples.length === 0 ? null : html`<details><summary>Sample messages</summary>${table(['target', 'outcome', 'message'], samples, [1, 2])}</details>`}`
}

function sampleDetails({ run }: ReportInput): string[][] {
  const found = new Map<string, string[]>()
  for (const { manifest, records } of run.blocks)
    for (const { outcome, detail } of records)
      if (outcome !== 'ok' && detail !== null && found.size < 20)
        found.set(`${manifest.target} ${outcome}`, [manifest.target, outcome, cleanLine(detail)])
  return [...found.values()]
}

/** Greedy answers of the targets, token by token. */
export function answersSection({ summary }: ReportInput): Markup {
  const note =
    'Greedy answers to the same prompts, compared token by token. A faster engine with other answers did other work.'
  return html`<h3>Answers compared</h3>${
    summary.answers.length === 0
      ? html`<p class="quiet">No answers were compared in this run: it takes two targets that return their tokens and greedy sampling.</p>`
      : html`<p class="quiet">${note}</p>${table(
          ['targets', 'compared', 'equal', 'share', 'first difference at token'],
          summary.answers.map((row) => [
            `${row.head} / ${row.base}`,
            formatCount(row.compared),
            formatCount(row.equal),
            row.compared === 0 ? '–' : formatShare(row.equal / row.compared),
            row.firstDivergence === null
              ? 'none differ'
              : `median ${formatNumber(row.firstDivergence.median)}, earliest ${formatCount(row.firstDivergence.min)}`,
          ]),
        )}`
  }`
}
