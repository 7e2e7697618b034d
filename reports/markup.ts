import { escapeHtml } from './clean.js'

/** HTML that is safe to place as it is: made by `html`, which escapes every value that is not Markup itself. */
export class Markup {
  constructor(readonly text: string) {}
}

export type Value = Markup | string | number | null | undefined | false | readonly Value[]

export function html(parts: TemplateStringsArray, ...values: Value[]): Markup {
  return new Markup(parts.map((part, index) => part + (index < values.length ? draw(values[index]) : '')).join(''))
}

/** For text that is already HTML by construction: our own style sheet, script and drawings. */
export function raw(text: string): Markup {
  return new Markup(text)
}

function draw(value: Value): string {
  if (value === null || value === undefined || value === false) return ''
  if (value instanceof Markup) return value.text
  if (typeof value === 'string') return escapeHtml(value)
  if (typeof value === 'number') return String(value)
  return value.map(draw).join('')
}

/** Rows of text; the first column is a heading. `text`: columns that hold words, not numbers. */
export function table(
  head: readonly Value[],
  rows: readonly (readonly Value[])[],
  text: readonly number[] = [],
): Markup {
  const kind = (column: number) => (text.includes(column) ? raw(' class="text"') : '')
  return html`<div class="scroll"><table><thead><tr>${head.map((cell, column) => html`<th scope="col"${kind(column)}>${cell}</th>`)}</tr></thead><tbody>${rows.map((row) => html`<tr>${row.map((cell, column) => (column === 0 ? html`<th scope="row">${cell}</th>` : html`<td${kind(column)}>${cell}</td>`))}</tr>`)}</tbody></table></div>`
}
