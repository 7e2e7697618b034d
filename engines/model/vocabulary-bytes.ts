import { ModelError } from './errors.js'

/** The two files a tokenizer is made of, parsed. */
export interface TokenizerFiles {
  tokenizer: Record<string, unknown>
  /** tokenizer_config.json; {} when absent. */
  config: Record<string, unknown>
  /** For messages. */
  path: string
}

/** What every id decodes to. */
export interface VocabularyBytes {
  /** By id; holes have no token. */
  bytes: (Uint8Array | undefined)[]
  special: ReadonlySet<number>
  /** Decoding a whole text drops one leading space. */
  stripsLeadingSpace: boolean
}

interface AddedToken {
  id: number
  content: string
  special: boolean
}

const MAX_ID = 4_194_304

/**
 * The bytes of each token of a BPE vocabulary: byte-level (GPT-2: every byte is a printable character) or SentencePiece
 * ("▁" is a space, "<0x0A>" a byte). Added tokens stand for their own text. Throws ModelError tokenizer_malformed.
 */
export function vocabularyBytes(files: TokenizerFiles): VocabularyBytes {
  const { tokenizer, path } = files
  const decoders = decoderTypes(tokenizer['decoder'])
  const isByteLevel = decoders.includes('ByteLevel')
  if (!isByteLevel && !decoders.includes('ByteFallback')) {
    throw malformed(path, 'decoder', `decoder ${JSON.stringify(decoders)}; ByteLevel and ByteFallback are known`)
  }
  const toBytes = isByteLevel ? byteLevelBytes : sentencePieceBytes
  const bytes: (Uint8Array | undefined)[] = []
  for (const [token, id] of Object.entries(vocabularyOf(tokenizer, path))) {
    if (!isId(id)) throw malformed(path, 'model.vocab', `the id of ${JSON.stringify(token)} is ${JSON.stringify(id)}`)
    bytes[id] = toBytes(token)
  }
  const special = new Set<number>()
  for (const token of addedTokens(tokenizer, path)) {
    bytes[token.id] = encoder.encode(token.content)
    if (token.special) special.add(token.id)
  }
  return { bytes, special, stripsLeadingSpace: decoders.includes('Strip') }
}

const encoder = new TextEncoder()

function decoderTypes(decoder: unknown): string[] {
  if (typeof decoder !== 'object' || decoder === null) return []
  const { type, decoders } = decoder as Record<string, unknown>
  return type === 'Sequence' && Array.isArray(decoders) ? decoders.flatMap(decoderTypes) : [String(type)]
}

function vocabularyOf(tokenizer: Record<string, unknown>, path: string): Record<string, unknown> {
  const model = tokenizer['model'] as Record<string, unknown> | null | undefined
  const vocabulary = model?.['vocab']
  if (typeof vocabulary === 'object' && vocabulary !== null && !Array.isArray(vocabulary)) {
    return vocabulary as Record<string, unknown>
  }
  throw malformed(path, 'model.vocab', 'not a BPE vocabulary')
}

function addedTokens(tokenizer: Record<string, unknown>, path: string): AddedToken[] {
  const tokens = tokenizer['added_tokens'] ?? []
  const sound = Array.isArray(tokens) && tokens.every((token) => isId(token?.id) && typeof token?.content === 'string')
  if (!sound) throw malformed(path, 'added_tokens', 'not a list of tokens with id and content')
  return tokens as AddedToken[]
}

/** GPT-2's table (openai/gpt-2, encoder.py, bytes_to_unicode): printable Latin-1 stands for itself, the rest for U+0100 and on. */
export const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(
  (() => {
    let next = 0x100
    return Array.from({ length: 256 }, (_, byte): [string, number] => {
      const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
      return [String.fromCodePoint(printable ? byte : next++), byte]
    })
  })(),
)

function byteLevelBytes(token: string): Uint8Array {
  const bytes: number[] = []
  for (const character of token) {
    const byte = BYTE_OF_CHARACTER.get(character)
    if (byte === undefined) bytes.push(...encoder.encode(character))
    else bytes.push(byte)
  }
  return Uint8Array.from(bytes)
}

function sentencePieceBytes(token: string): Uint8Array {
  const byte = /^<0x([0-9A-F]{2})>$/.exec(token)?.[1]
  if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16))
  return encoder.encode(token.replaceAll('▁', ' '))
}

function isId(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < MAX_ID
}

function malformed(path: string, field: string, what: string): ModelError {
  return new ModelError('tokenizer_malformed', `${path}: ${field}: ${what}`, field)
}
