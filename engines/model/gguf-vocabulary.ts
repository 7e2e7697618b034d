import { ModelError } from './errors.js'
import type { GgufHeader } from './gguf.js'

/** Token types of GGUF (gguf-py/gguf/constants.py, TokenType). */
export const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const

/** What the conversion needs of the metadata. */
export interface GgufVocabulary {
  tokens: string[]
  types: number[]
  scores: number[]
  merges: string[]
  /** 'default' when the file names none. */
  preTokenizer: string
  addsSpacePrefix: boolean
  bosTokenId: number | null
  addsBos: boolean
  path: string
}

/** The vocabulary of a GGUF file. Throws ModelError tokenizer_malformed. */
export function readGgufVocabulary({ metadata }: GgufHeader, path: string): GgufVocabulary {
  const list = <T>(key: string, type: 'string' | 'number'): T[] => {
    const value = metadata.get(`tokenizer.ggml.${key}`) ?? []
    if (Array.isArray(value) && value.every((item) => typeof item === type)) return value as T[]
    throw malformed(path, `tokenizer.ggml.${key}`, `not a list of ${type}s`)
  }
  const tokens = list<string>('tokens', 'string')
  const types = list<number>('token_type', 'number')
  if (tokens.length === 0) throw malformed(path, 'tokenizer.ggml.tokens', 'the vocabulary is empty')
  if (types.length !== 0 && types.length !== tokens.length) {
    throw malformed(path, 'tokenizer.ggml.token_type', `${types.length} types for ${tokens.length} tokens`)
  }
  const isSentencePiece = metadata.get('tokenizer.ggml.model') === 'llama'
  const preTokenizer = metadata.get('tokenizer.ggml.pre') ?? 'default'
  const bos = metadata.get('tokenizer.ggml.bos_token_id')
  return {
    tokens,
    types,
    scores: list<number>('scores', 'number'),
    merges: list<string>('merges', 'string'),
    preTokenizer: String(preTokenizer),
    addsSpacePrefix: metadata.get('tokenizer.ggml.add_space_prefix') !== false,
    bosTokenId: typeof bos === 'number' && bos < tokens.length ? bos : null,
    addsBos: Boolean(metadata.get('tokenizer.ggml.add_bos_token') ?? (isSentencePiece || preTokenizer === 'llama-bpe')),
    path,
  }
}

function malformed(path: string, field: string, what: string): ModelError {
  return new ModelError('tokenizer_malformed', `${path}: ${field}: ${what}`, field)
}
