import { closeSync, constants, openSync, readSync } from 'node:fs'
import { StringDecoder } from 'node:string_decoder'

const CHUNK_BYTES = 1 << 20
/** A line beyond this is damage, not a record. */
const MAX_LINE_CHARACTERS = 64 << 20

export interface Lines<T> {
  rows: T[]
  /** The file ends inside a line: its writer was killed. */
  torn: boolean
  /** Lines that are no JSON, or that `accept` refused. */
  damaged: number
}

/** Reads a file of JSON lines in pieces. A missing file is an empty one; a torn last line and damaged lines are counted, not thrown. */
export function readJsonLines<T>(path: string, accept: (value: unknown) => value is T): Lines<T> {
  const lines: Lines<T> = { rows: [], torn: false, damaged: 0 }
  const take = (text: string): boolean => {
    const value = parse(text)
    if (!accept(value)) return false
    lines.rows.push(value)
    return true
  }
  const rest = eachLine(path, (text) => {
    if (text.trim() !== '' && !take(text)) lines.damaged++
  })
  // A last line without its line feed may be whole: a process killed between its two writes, or a hand-edited file.
  if (rest !== '' && !take(rest)) lines.torn = true
  return lines
}

/** Calls `onLine` for every line that ends in LF; returns what follows the last LF. */
function eachLine(path: string, onLine: (text: string) => void): string {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw cause
  }
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    const decoder = new StringDecoder('utf8')
    let pending = ''
    for (;;) {
      const count = readSync(fd, chunk)
      if (count === 0) return pending
      const parts = (pending + decoder.write(chunk.subarray(0, count))).split('\n')
      pending = parts.pop()!
      for (const part of parts) onLine(part)
      if (pending.length > MAX_LINE_CHARACTERS) {
        onLine('?')
        pending = ''
      }
    }
  } finally {
    closeSync(fd)
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
