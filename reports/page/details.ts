import { detailTables } from '../details/all.js'
import type { DetailTable } from '../details/table.js'
import type { ReportInput } from '../input.js'
import { html, type Markup, table } from '../markup.js'

/** The detail tables by id, each with its heading and notes. */
export function detailSections(input: ReportInput): Map<string, Markup> {
  return new Map(detailTables(input).map((detail) => [detail.id, detailSection(detail)]))
}

function detailSection({ id, title, head, rows, words, notes }: DetailTable): Markup {
  const text = html`${notes.map((note) => html`<p class="quiet">${note}</p>`)}`
  const figures = rows.length === 0 ? null : table(head, rows, words)
  if (FOLDED.includes(id)) return html`<details class="more"><summary>${title}</summary>${figures}${text}</details>`
  const heading = HEADED.includes(id) ? null : html`<h3>${title}</h3>`
  return html`${heading}${figures}${text}`
}

/** Asked for by those who know what they seek. */
const FOLDED = ['other-tools']
/** The section's own heading says it already. */
const HEADED = ['ttft-parts']
