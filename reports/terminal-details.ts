import type { DetailTable } from './details/table.js'
import { drawColumns } from './terminal-columns.js'
import { wrap } from './wrap.js'

interface Paint {
  heading: (line: string) => string
  note: (line: string) => string
}

export function drawDetail({ title, head, rows, words, notes }: DetailTable, width: number, paint: Paint): string[] {
  return [
    '',
    ...wrap(title, width).map(paint.heading),
    ...drawColumns(head, rows, [0, ...words], width, paint.note),
    ...notes.flatMap((note) => wrap(note, width, 2)).map(paint.note),
  ]
}
