import { type Document, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import { Failure } from '../failure.js'

/** A parsed YAML file that can say where a path stands in it. */
export interface SourceTree {
  file: string
  value: unknown
  /** 'file:line:column' of the node at `path`, or of its nearest ancestor. With `key`: of that key inside it. */
  where(path: readonly (string | number)[], key?: string): string
}

const MAX_BYTES = 1024 * 1024
const MAX_DEPTH = 32
const FORBIDDEN_KEYS = new Set(['__proto__', 'constructor', 'prototype'])

/**
 * Parses scenario text under limits a hostile file cannot pass: 1 MiB, 10 aliases, 32 levels, no prototype keys, YAML 1.2 core schema.
 * Throws Failure('bad-scenario') with line and column.
 */
export function parseYaml(text: string, file: string): SourceTree {
  if (Buffer.byteLength(text) > MAX_BYTES) throw new Failure('bad-scenario', `${file}: larger than 1 MiB`)
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, schema: 'core', uniqueKeys: true, merge: false })
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${line}:${col}`
  }
  const problem = document.errors[0]
  if (problem !== undefined) {
    throw new Failure(
      'bad-scenario',
      `${at(problem.pos[0])}: ${problem.message.split('\n')[0]!.replace(/ at line.*$/, '')}`,
    )
  }
  checkTree(document.contents, 0, at)
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: 10 })
  } catch (error) {
    throw new Failure('bad-scenario', `${file}: ${(error as Error).message}`)
  }
  return { file, value, where: (path, key) => at(offsetOf(document, path, key)) }
}

function checkTree(node: unknown, depth: number, at: (offset: number) => string): void {
  if (!isNode(node)) return
  const offset = node.range?.[0] ?? 0
  if (depth > MAX_DEPTH) throw new Failure('bad-scenario', `${at(offset)}: nested deeper than ${MAX_DEPTH} levels`)
  if (isSeq(node)) for (const item of node.items) checkTree(item, depth + 1, at)
  if (isMap(node)) {
    for (const pair of node.items) {
      const key = isScalar(pair.key) ? String(pair.key.value) : ''
      const keyOffset = (isNode(pair.key) ? pair.key.range?.[0] : null) ?? offset
      if (FORBIDDEN_KEYS.has(key)) throw new Failure('bad-scenario', `${at(keyOffset)}: key '${key}' is not allowed`)
      checkTree(pair.value, depth + 1, at)
    }
  }
}

/** Follows `path` as far as it exists. A list index on a map is skipped: the list was a shorthand for its only entry. */
function offsetOf(document: Document, path: readonly (string | number)[], key?: string): number {
  let node: unknown = document.contents
  let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0
  for (const segment of path) {
    if (isMap(node) && typeof segment === 'number') continue
    const next = isMap(node) || isSeq(node) ? node.get(segment, true) : undefined
    if (!isNode(next)) return offset
    node = next
    offset = next.range?.[0] ?? offset
  }
  if (key === undefined || !isMap(node)) return offset
  const pair = node.items.find((item) => isScalar(item.key) && item.key.value === key)
  return pair !== undefined && isNode(pair.key) ? (pair.key.range?.[0] ?? offset) : offset
}
