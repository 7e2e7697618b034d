import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer as JsonTokenizer } from '@huggingface/tokenizers'
import { createDetokenizer, decodeTokens } from './detokenizer.js'
import { ModelError } from './errors.js'
import type { Tokenizer } from './tokenizer.js'
import { type TokenizerFiles, type VocabularyBytes, vocabularyBytes } from './vocabulary-bytes.js'

const MAX_TOKENIZER_BYTES = 128 * 2 ** 20

/** tokenizer.json and tokenizer_config.json of a directory; null when it has no tokenizer. Throws ModelError tokenizer_malformed. */
export function readTokenizerFiles(directory: string): TokenizerFiles | null {
  const path = join(directory, 'tokenizer.json')
  if (!existsSync(path)) return null
  const configPath = join(directory, 'tokenizer_config.json')
  return { tokenizer: readObject(path), config: existsSync(configPath) ? readObject(configPath) : {}, path }
}

/**
 * A tokenizer from tokenizer.json. Encoding is @huggingface/tokenizers'; decoding is a table of the bytes of each token, which
 * needs no knowledge of neighbours and takes well under a microsecond a token. Throws ModelError tokenizer_malformed.
 */
export function createJsonTokenizer(
  files: TokenizerFiles,
  model: Pick<Tokenizer, 'vocabSize' | 'bosTokenId' | 'eosTokenIds'>,
): Tokenizer {
  const encoder = createEncoder(files)
  const vocabulary = vocabularyBytes(files)
  const tokenBytes = (id: number) => vocabulary.bytes[id] ?? NOTHING
  const isSpecial = (id: number) => vocabulary.special.has(id)
  return {
    ...model,
    kind: 'own',
    json: files.tokenizer,
    isSpecial,
    tokenBytes,
    encode: (text, { addSpecialTokens }) => encoder.encode(text, { add_special_tokens: addSpecialTokens }).ids,
    decode: (ids, { skipSpecialTokens }) =>
      stripped(decodeTokens(ids, tokenBytes, skipSpecialTokens ? isSpecial : null), vocabulary),
    createDetokenizer: ({ skipSpecialTokens }) => createDetokenizer(tokenBytes, skipSpecialTokens ? isSpecial : null),
    tokenText: (id) => new TextDecoder().decode(tokenBytes(id)),
  }
}

const NOTHING = new Uint8Array(0)

function createEncoder({ tokenizer, config, path }: TokenizerFiles): JsonTokenizer {
  try {
    return new JsonTokenizer(tokenizer, config)
  } catch (cause) {
    throw new ModelError('tokenizer_malformed', `${path}: ${(cause as Error).message}`, null, '', { cause })
  }
}

/** SentencePiece puts a space before the text; decoding the whole takes it away again. */
function stripped(text: string, { stripsLeadingSpace }: VocabularyBytes): string {
  return stripsLeadingSpace && text.startsWith(' ') ? text.slice(1) : text
}

function readObject(path: string): Record<string, unknown> {
  let value: unknown
  try {
    if (statSync(path).size > MAX_TOKENIZER_BYTES) throw new Error(`larger than ${MAX_TOKENIZER_BYTES} bytes`)
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new ModelError('tokenizer_malformed', `${path}: ${(cause as Error).message}`, null, '', { cause })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new ModelError('tokenizer_malformed', `${path}: not a JSON object`)
}
