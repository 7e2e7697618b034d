/** Breaks at spaces; following lines are indented. A longer word is cut. */
export function wrap(text: string, width: number, indent = 0): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const next = line === '' ? word : `${line} ${word}`
    if (next.length <= width || line.trim() === '') {
      line = next.slice(0, width)
    } else {
      lines.push(line)
      line = (' '.repeat(indent) + word).slice(0, width)
    }
  }
  return [...lines, line]
}
