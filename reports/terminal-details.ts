import type { DetailTable } from './details/table.js'
import { wrap } from './wrap.js'

interface Paint {
  heading: (line: string) => string
  note: (line: string) => string
}

/** A detail table for a terminal: in columns where they fit, else a line a row that names each figure. */
export function drawDetail({ title, head, rows, words, notes }: DetailTable, width: number, paint: Paint): string[] {
  const widths = head.map((label, column) => Math.max(label.length, ...rows.map((row) => row[column]!.length)))
  const fits = widths.reduce((sum, cell) => sum + cell + 2, -2) <= width
  const left = (column: number) => column === 0 || words.includes(column)
  const aligned = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (left(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd()
  const named = ([name, ...cells]: readonly string[]) =>
    wrap(`${name}: ${cells.map((cell, index) => `${head[index + 1]} ${cell}`).join('; ')}`, width, 2)
  const figures = fits ? [paint.note(aligned(head)), ...rows.map(aligned)] : rows.flatMap(named)
  return [
    '',
    ...wrap(fits || rows.length === 0 ? title : `${title} (${head[0]})`, width).map(paint.heading),
    ...(rows.length === 0 ? [] : figures),
    ...notes.flatMap((note) => wrap(note, width, 2)).map(paint.note),
  ]
}
