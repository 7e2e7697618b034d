import { ApiError } from './api-error.js'

export interface ParsedJson {
  value: Record<string, unknown>
  /** The digits of a top-level integer "seed": a 64-bit seed does not survive as a JavaScript number. */
  seedDigits: string | null
}

const MAX_DEPTH = 64
const LONE_SURROGATE = /\p{Surrogate}/u
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * One JSON object, read more strictly than JSON.parse does (RFC 8259 leaves these to the reader): no byte order mark, no duplicate
 * keys, no lone surrogates, at most 64 levels. Throws ApiError invalid_json.
 */
export function parseJson(bytes: Uint8Array): ParsedJson {
  let text: string
  try {
    text = decoder.decode(bytes)
  } catch {
    throw new ApiError('invalid_json', 'The body is not valid UTF-8.')
  }
  if (text.charCodeAt(0) === 0xfeff) throw new ApiError('invalid_json', 'The body starts with a byte order mark.')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new ApiError('invalid_json', 'The body is not valid JSON.')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ApiError('invalid_json', 'The body must be a JSON object.')
  }
  return { value: value as Record<string, unknown>, seedDigits: inspect(text) }
}

const QUOTE = 0x22
const COMMA = 0x2c
const BACKSLASH = 0x5c
const OPEN_LIST = 0x5b
const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/** Walks text that JSON.parse accepted, so the grammar need not be checked again. Returns the seed's digits. */
function inspect(text: string): string | null {
  let seedDigits: string | null = null
  // One entry per open bracket: an object's keys so far, or null for a list.
  const open: (Set<string> | null)[] = []
  let keyNext = false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) {
      const end = stringEnd(text, at)
      const keys = keyNext ? open[open.length - 1] : null
      if (keys) {
        keyNext = false
        const key = decodeString(text.slice(at, end + 1))
        if (keys.has(key)) throw new ApiError('invalid_json', 'The body has a duplicate key.', key)
        keys.add(key)
        if (open.length === 1 && key === 'seed') seedDigits = integerAfterColon(text, end + 1)
      } else {
        decodeString(text.slice(at, end + 1))
      }
      at = end
    } else if (code === COMMA) {
      keyNext = open[open.length - 1] !== null
    } else if (code === OPEN_OBJECT || code === OPEN_LIST) {
      keyNext = code === OPEN_OBJECT
      if (open.push(keyNext ? new Set() : null) > MAX_DEPTH) {
        throw new ApiError('invalid_json', `The body is nested deeper than ${MAX_DEPTH} levels.`)
      }
    } else if (code === CLOSE_OBJECT || code === CLOSE_LIST) {
      open.pop()
      keyNext = false
    }
  }
  return seedDigits
}

/** Index of the closing quote of the string that opens at `at`. */
function stringEnd(text: string, at: number): number {
  for (let i = at + 1; ; i++) {
    const code = text.charCodeAt(i)
    if (code === BACKSLASH) i++
    else if (code === QUOTE) return i
  }
}

function decodeString(source: string): string {
  if (!source.includes('\\')) return source.slice(1, -1)
  const text = JSON.parse(source) as string
  if (LONE_SURROGATE.test(text)) throw new ApiError('invalid_json', 'The body has a string with a lone surrogate.')
  return text
}

function integerAfterColon(text: string, at: number): string | null {
  const pattern = /\s*:\s*(-?\d+)(?=[\s,}])/y
  pattern.lastIndex = at
  return pattern.exec(text)?.[1] ?? null
}
