import { escapeMarkdown } from './clean.js'
import { comparisonTable } from './comparison-table.js'
import { contextLines, noticeLines, reasonLines, validityLine } from './context.js'
import { detailTables } from './details/all.js'
import type { DetailTable } from './details/table.js'
import { formatInterval, formatNumber, formatRatio } from './format.js'
import { headline, intervalNote } from './headline.js'
import type { ReportInput } from './input.js'

/** A comment on GitHub holds 65,536 characters: stay below. */
const MAX_CHARACTERS = 60_000

/** The comparison as GitHub Markdown: the finding first, the rest folded. A hidden marker lets a pipeline replace its own comment. */
export function renderMarkdown(input: ReportInput): string {
  const reasons = reasonLines(input)
  const essential = [
    '<!-- pagedbench -->',
    `**${escapeMarkdown(headline(input))}**`,
    [escapeMarkdown(validityLine(input)), escapeMarkdown(intervalNote(input))].filter(Boolean).join('<br>'),
    mainTable(input),
    reasons
      .filter((reason) => reason.severity !== 'note')
      .map(({ text, fix }) => `- ${escapeMarkdown(text)} (fix: ${escapeMarkdown(fix)})`)
      .join('\n'),
  ]
  // The least important comes last, and is the first to go when the text grows too long.
  const optional = [
    folded(
      'What it was measured on',
      contextLines(input).map(([label, text]) => `- ${label}: ${escapeMarkdown(text)}`),
    ),
    folded('Metrics compared', comparisonRows(input)),
    ...detailTables(input).map((detail) => folded(detail.title, detailRows(detail))),
    folded('Notes', [
      ...reasons.filter((reason) => reason.severity === 'note').map(({ text }) => `- ${escapeMarkdown(text)}`),
      ...comparisonTable(input).footnotes.map((line) => `- ${escapeMarkdown(line)}`),
      ...noticeLines(input).map((line) => `- ${escapeMarkdown(line)}`),
    ]),
  ]
  const parts = essential.filter((part) => part !== '')
  for (const part of optional)
    if (part !== '' && [...parts, part].join('\n\n').length < MAX_CHARACTERS) parts.push(part)
  return parts.join('\n\n').slice(0, MAX_CHARACTERS) + '\n'
}

function mainTable(input: ReportInput): string {
  const table = comparisonTable(input)
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [
    line(['', ...table.targets.map(escapeMarkdown)]),
    line(['---', ...table.targets.map(() => '---:')]),
    ...table.rows.map((row) => line([escapeMarkdown(row.label), ...row.cells.map(escapeMarkdown)])),
  ].join('\n')
}

function comparisonRows({ summary }: ReportInput): string[] {
  if (summary.comparisons.length === 0) return []
  return [
    '| metric | base | head | ratio | interval | verdict | n |',
    '| --- | ---: | ---: | ---: | ---: | --- | ---: |',
    ...summary.comparisons.map((row) => {
      const values = [
        `${row.metric}: ${row.head} / ${row.base}`,
        formatNumber(row.baseValue),
        formatNumber(row.headValue),
        formatRatio(row.ratio),
        formatInterval(row.ratioLow, row.ratioHigh, formatRatio),
        row.verdict,
        String(row.n),
      ]
      return `| ${values.map(escapeMarkdown).join(' | ')} |`
    }),
  ]
}

function detailRows({ head, rows, words, notes }: DetailTable): string[] {
  const line = (cells: readonly string[]) => `| ${cells.map(escapeMarkdown).join(' | ')} |`
  const kinds = head.map((_, column) => (column === 0 || words.includes(column) ? '---' : '---:'))
  const table = rows.length === 0 ? [] : [line(head), `| ${kinds.join(' | ')} |`, ...rows.map(line), '']
  return [...table, ...notes.map((note) => `- ${escapeMarkdown(note)}`)]
}

function folded(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `<details><summary>${title}</summary>\n\n${lines.join('\n')}\n\n</details>`
}
