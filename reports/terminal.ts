import Table from 'cli-table3'
import { createColors } from 'picocolors'
import { type ComparisonTable, comparisonTable } from './comparison-table.js'
import { contextLines, noticeLines, reasonLines, validityLine } from './context.js'
import { detailTables } from './details/all.js'
import { headline, intervalNote } from './headline.js'
import type { ReportInput } from './input.js'
import { type TerminalLook, toAscii } from './terminal-columns.js'
import { drawDetail } from './terminal-details.js'
import { wrap } from './wrap.js'

export interface TerminalOptions extends TerminalLook {
  /** Where TTFT went, other tools' figures, device means, the engine's own time too. */
  details?: boolean
}

/** The comparison for a terminal: the finding, the table, then what the figures were measured on. Ends in a line feed. */
export function renderTerminal(input: ReportInput, options: TerminalOptions): string {
  const colors = createColors(options.color)
  const width = Math.max(40, options.width)
  const table = comparisonTable(input)
  const dim = (line: string) => colors.dim(line)
  const verdict = validityLine(input)
  const sections = [
    wrap(headline(input), width).map((line) => colors.bold(line)),
    [verdict, intervalNote(input)]
      .filter(Boolean)
      .flatMap((line) => wrap(line, width))
      .map((line) => (line === verdict ? paintValidity(line, colors) : dim(line))),
    ['', ...drawTables(table, width, options, colors)],
    table.footnotes.flatMap((line) => wrap(`– ${line}`, width, 2)).map(dim),
    [''],
    contextLines(input).flatMap(([label, text]) => wrap(`${label.padEnd(9)} ${text}`, width, 10)),
    reasonLines(input).flatMap(({ text, fix, severity }) => [
      ...wrap(`${severity === 'note' ? 'note' : severity} ${text}`, width, 2).map(
        severity === 'note' ? dim : colors.yellow,
      ),
      ...wrap(`fix: ${fix}`, width - 2, 5).map((line) => dim(`  ${line}`)),
    ]),
    noticeLines(input).flatMap((line) => wrap(`notice ${line}`, width, 7)),
    options.details
      ? detailTables(input).flatMap((detail) => drawDetail(detail, width, { heading: colors.bold, note: dim }))
      : [],
  ]
  const text = sections.flat().join('\n') + '\n'
  return options.ascii ? toAscii(text) : text
}

type Colors = ReturnType<typeof createColors>

function paintValidity(line: string, colors: Colors): string {
  return line.startsWith('VALID')
    ? colors.green(line)
    : line.startsWith('UNVERIFIED')
      ? colors.yellow(line)
      : colors.red(line)
}

/** Targets side by side, as many as fit; the rest in further tables below. */
function drawTables(table: ComparisonTable, width: number, options: TerminalOptions, colors: Colors): string[] {
  const labelWidth = Math.max(...table.rows.map((row) => row.label.length)) + 2
  const widths = table.targets.map(
    (target, index) => Math.max(target.length, ...table.rows.map((row) => row.cells[index]!.length)) + 2,
  )
  const lines: string[] = []
  for (let from = 0; from < table.targets.length; ) {
    let to = from + 1
    while (to < table.targets.length && fits(labelWidth, widths.slice(from, to + 1), width)) to++
    lines.push(...drawTable(table, from, to, [labelWidth, ...widths.slice(from, to)], width, options, colors))
    from = to
  }
  return lines
}

const fits = (label: number, cells: readonly number[], width: number): boolean =>
  label + cells.reduce((sum, cell) => sum + cell + 1, 0) + 2 <= width

function drawTable(
  source: ComparisonTable,
  from: number,
  to: number,
  widths: readonly number[],
  width: number,
  options: TerminalOptions,
  colors: Colors,
): string[] {
  const excess = widths.reduce((sum, cell) => sum + cell + 1, 1) - width
  const colWidths = widths.map((cell, index) =>
    index === widths.length - 1 && excess > 0 ? Math.max(6, cell - excess) : cell,
  )
  const table = new Table({
    head: ['', ...source.targets.slice(from, to)],
    colWidths,
    colAligns: ['left', ...source.targets.slice(from, to).map(() => 'right' as const)],
    style: { head: [], border: [], compact: true },
    chars: options.ascii ? ASCII_BORDERS : UNICODE_BORDERS,
  })
  for (const row of source.rows) table.push([row.label, ...row.cells.slice(from, to)])
  return table
    .toString()
    .split('\n')
    .map((line) => (options.color ? line.replace(/[│─┌┐└┘├┤┬┴┼]+/g, (border) => colors.dim(border)) : line))
}

const UNICODE_BORDERS = { 'top-left': '┌', 'top-right': '┐', 'bottom-left': '└', 'bottom-right': '┘' }
const ASCII_BORDERS = {
  ...{ top: '-', 'top-mid': '+', 'top-left': '+', 'top-right': '+' },
  ...{ bottom: '-', 'bottom-mid': '+', 'bottom-left': '+', 'bottom-right': '+' },
  ...{ left: '|', 'left-mid': '+', mid: '-', 'mid-mid': '+', right: '|', 'right-mid': '+', middle: '|' },
}
