import type { ModelConfig } from './config.js'
import { createDetokenizer, decodeTokens } from './detokenizer.js'
import type { Tokenizer } from './tokenizer.js'
import { BYTE_OF_CHARACTER } from './vocabulary-bytes.js'

const FIRST_SPECIAL_ID = 256
const FIRST_WORD_ID = 258

/**
 * For models without a tokenizer: ids 0..255 are bytes, 256 begins and 257 ends a sequence, every other id is the word "<id>".
 * Decoding what was encoded gives the same text, and encoding what was decoded the same words.
 */
export function createByteTokenizer(config: Pick<ModelConfig, 'vocabSize' | 'bosTokenId' | 'eosTokenIds'>): Tokenizer {
  const { vocabSize, bosTokenId, eosTokenIds } = config
  const isSpecial = (id: number) => id === bosTokenId || eosTokenIds.includes(id)
  const tokenBytes = (id: number) => bytesOf(id, vocabSize)
  return {
    kind: 'bytes',
    vocabSize,
    bosTokenId,
    eosTokenIds,
    json: byteLevelJson(),
    isSpecial,
    tokenBytes,
    encode: (text, { addSpecialTokens }) => {
      const ids = encodeWords(text, vocabSize)
      return addSpecialTokens && bosTokenId !== null ? [bosTokenId, ...ids] : ids
    },
    decode: (ids, { skipSpecialTokens }) => decodeTokens(ids, tokenBytes, skipSpecialTokens ? isSpecial : null),
    createDetokenizer: ({ skipSpecialTokens }) => createDetokenizer(tokenBytes, skipSpecialTokens ? isSpecial : null),
    tokenText: (id) => new TextDecoder().decode(tokenBytes(id)),
  }
}

const encoder = new TextEncoder()

function bytesOf(id: number, vocabSize: number): Uint8Array {
  if (id < 0 || id >= vocabSize) return new Uint8Array(0)
  return id < FIRST_SPECIAL_ID ? Uint8Array.of(id) : encoder.encode(`<${id}>`)
}

function encodeWords(text: string, vocabSize: number): number[] {
  const ids: number[] = []
  for (const part of text.split(/(<\d{3,7}>)/)) {
    const id = /^<(\d+)>$/.exec(part)?.[1]
    const isWord = id !== undefined && Number(id) >= FIRST_WORD_ID && Number(id) < vocabSize && !id.startsWith('0')
    if (isWord) ids.push(Number(id))
    else for (const byte of encoder.encode(part)) ids.push(byte)
  }
  return ids
}

/** The same for other programs: byte-level BPE without a merge. It knows the bytes, not the words "<id>". */
function byteLevelJson(): object {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false }
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: { type: 'BPE', vocab: Object.fromEntries(BYTE_OF_CHARACTER), merges: [] },
  }
}
