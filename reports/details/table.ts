/** Figures behind the comparison, as plain text: the page, Markdown (folded) and the terminal (--details) draw the same table. */
export interface DetailTable {
  id: string
  title: string
  head: string[]
  /** The first column is a heading. Empty: `notes` say why. */
  rows: string[][]
  /** Columns that hold words. */
  words: number[]
  /** A sentence each: what the figures are, and what they cannot say. */
  notes: string[]
}
