import { wrap } from './wrap.js'

export interface TerminalLook {
  /** Columns to stay within. */
  width: number
  color: boolean
  ascii: boolean
}

/** Rows in aligned columns where they fit; else a line a row that names each figure. `left`: columns of words. */
export function drawColumns(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  left: readonly number[],
  width: number,
  paintHead: (line: string) => string = (line) => line,
): string[] {
  if (rows.length === 0) return []
  const widths = head.map((label, column) => Math.max(label.length, ...rows.map((row) => row[column]!.length)))
  const aligned = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (left.includes(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd()
  if (widths.reduce((sum, cell) => sum + cell + 2, -2) <= width) return [paintHead(aligned(head)), ...rows.map(aligned)]
  return rows.flatMap(([name, ...cells]) =>
    wrap(`${name} (${head[0]}): ${cells.map((cell, index) => `${head[index + 1]} ${cell}`).join('; ')}`, width, 2),
  )
}

const ASCII_FOR: Record<string, string> = { '–': '-', '…': '...', '’': "'", '×': 'x', '\u2060': '', µ: 'u', '−': '-' }

export function toAscii(text: string): string {
  return text.replace(/[^\p{Cc} -~]/gu, (character) => ASCII_FOR[character] ?? '?')
}
