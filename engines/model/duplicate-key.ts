/**
 * The first key that stands twice in one object of a JSON text, or null. JSON.parse keeps the last of them without a word (RFC 8259,
 * section 4), so two readers could see two different files. The text must be valid JSON.
 */
export function findDuplicateKey(text: string): string | null {
  const objects: (Set<string> | null)[] = []
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!
    if (char === '{') objects.push(new Set())
    else if (char === '[') objects.push(null)
    else if (char === '}' || char === ']') objects.pop()
    else if (char === '"') {
      const end = endOfString(text, at)
      const keys = objects[objects.length - 1]
      if (keys && nextVisible(text, end) === ':') {
        const key = JSON.parse(text.slice(at, end)) as string
        if (keys.has(key)) return key
        keys.add(key)
      }
      at = end - 1
    }
  }
  return null
}

/** The index behind the closing quote of the string that opens at `at`. */
function endOfString(text: string, at: number): number {
  let end = at + 1
  while (text[end] !== '"') end += text[end] === '\\' ? 2 : 1
  return end + 1
}

function nextVisible(text: string, at: number): string | undefined {
  let next = at
  while (text[next] === ' ' || text[next] === '\n' || text[next] === '\r' || text[next] === '\t') next++
  return text[next]
}
