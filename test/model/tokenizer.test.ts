import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer as JsonTokenizer } from '@huggingface/tokenizers'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { createByteTokenizer } from '../../engines/model/byte-tokenizer.js'
import type { GgufHeader, GgufValue } from '../../engines/model/gguf.js'
import { ggufTokenizerJson } from '../../engines/model/gguf-tokenizer.js'
import { createJsonTokenizer, readTokenizerFiles } from '../../engines/model/json-tokenizer.js'
import { PRESETS } from '../../engines/model/presets.js'
import type { Tokenizer } from '../../engines/model/tokenizer.js'
import { scratchDirectory } from './model-files.js'

const scratch = scratchDirectory()
afterAll(scratch.remove)
const keep = { skipSpecialTokens: false }
const skip = { skipSpecialTokens: true }
const plain = { addSpecialTokens: false }

function stream(tokenizer: Tokenizer, ids: readonly number[]): string[] {
  const detokenizer = tokenizer.createDetokenizer(keep)
  return [...ids.map((id) => detokenizer.push(id)), detokenizer.flush()]
}

describe('the byte tokenizer of models without one', () => {
  const tokenizer = createByteTokenizer(PRESETS.tiny)

  it('gives back any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), (text) => {
        const ids = tokenizer.encode(text, plain)
        expect(tokenizer.decode(ids, keep)).toBe(text)
        expect(stream(tokenizer, ids).join('')).toBe(text)
      }),
    )
  })

  it('gives back any ids beyond the bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 258, max: 4095 })), (ids) => {
        expect(tokenizer.encode(tokenizer.decode(ids, keep), plain)).toEqual(ids)
      }),
    )
  })

  it('puts the BOS first, and leaves special ids out of the text', () => {
    expect(tokenizer.encode('a', { addSpecialTokens: true })).toEqual([256, 97])
    expect(tokenizer.decode([256, 97, 257], skip)).toBe('a')
  })

  it('takes words that are no id for text', () => {
    for (const text of ['<257>', '<4096>', '<0300>', '<99999999>', '<abc>']) {
      expect(tokenizer.encode(text, plain)).toEqual([...Buffer.from(text)])
    }
    expect(tokenizer.encode('x<300>y', plain)).toEqual([120, 300, 121])
  })

  it('exports a tokenizer.json that other programs read alike', () => {
    const other = new JsonTokenizer(tokenizer.json, {})
    const text = 'naïve 北京 \u0000\u007f'
    expect(other.encode(text).ids).toEqual(tokenizer.encode(text, plain))
  })
})

describe('the detokenizer', () => {
  const tokenizer = createByteTokenizer(PRESETS.tiny)
  it('holds a character back until its last byte', () => {
    expect(stream(tokenizer, [...Buffer.from('a€😀')])).toEqual(['a', '', '', '€', '', '', '', '😀', ''])
  })
  it('shows bytes that can begin no character as U+FFFD at once, and a cut character at the end', () => {
    expect(stream(tokenizer, [0xff, 0x61, 0xe2, 0x82])).toEqual(['\ufffd', 'a', '', '', '\ufffd'])
    expect(stream(tokenizer, [0xe2, 0x61])).toEqual(['', '\ufffda', ''])
  })
  it('keeps a byte order mark', () => {
    expect(stream(tokenizer, [...Buffer.from('\ufeffx')]).join('')).toBe('\ufeffx')
  })
})

/** SentencePiece: a vocabulary in which "▁hello" grows from its pieces in the order of the scores. */
const PIECES: [string, number, number][] = [
  ['<unk>', 0, 2],
  ['<s>', 0, 3],
  ['</s>', 0, 3],
  ...Array.from({ length: 256 }, (_, byte): [string, number, number] => [
    `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
    0,
    6,
  ]),
  ['▁', -9, 1],
  ['h', -10, 1],
  ['e', -11, 1],
  ['l', -12, 1],
  ['o', -13, 1],
  ['ll', -1, 1],
  ['he', -2, 1],
  ['hell', -3, 1],
  ['▁hell', -4, 1],
  ['▁hello', -5, 1],
  ['lo', -6, 1],
]

function sentencePiece(extra: Record<string, GgufValue> = {}): Tokenizer {
  const metadata = new Map<string, GgufValue>(
    Object.entries({
      'tokenizer.ggml.model': 'llama',
      'tokenizer.ggml.tokens': PIECES.map(([piece]) => piece),
      'tokenizer.ggml.scores': PIECES.map(([, score]) => score),
      'tokenizer.ggml.token_type': PIECES.map(([, , type]) => type),
      'tokenizer.ggml.bos_token_id': 1,
      ...extra,
    }),
  )
  const header: GgufHeader = { version: 3, metadata, tensors: new Map() }
  const model = { vocabSize: PIECES.length, bosTokenId: 1, eosTokenIds: [2] }
  return createJsonTokenizer(ggufTokenizerJson(header, 'test.gguf')!, model)
}

describe('a SentencePiece vocabulary from GGUF', () => {
  const pieces = (ids: readonly number[]) => ids.map((id) => PIECES[id]![0])

  it('merges by score, with a space before the text and the BOS first', () => {
    const tokenizer = sentencePiece()
    expect(pieces(tokenizer.encode('hello', { addSpecialTokens: true }))).toEqual(['<s>', '▁hello'])
    expect(pieces(tokenizer.encode('hello hello', plain))).toEqual(['▁hello', '▁hello'])
  })

  it('falls back to bytes, and decodes them', () => {
    const tokenizer = sentencePiece()
    const ids = tokenizer.encode('héllo 北', plain)
    expect(pieces(ids)).toEqual(expect.arrayContaining(['<0xC3>', '<0xA9>', '<0xE5>', '<0x8C>', '<0x97>']))
    expect(tokenizer.decode(ids, skip)).toBe('héllo 北')
  })

  it('drops the leading space of a whole text, not of what follows a prompt', () => {
    const tokenizer = sentencePiece()
    const ids = tokenizer.encode('hello', plain)
    expect(tokenizer.decode(ids, skip)).toBe('hello')
    expect(stream(tokenizer, ids).join('')).toBe(' hello')
  })

  it('without a space prefix begins at once', () => {
    const tokenizer = sentencePiece({ 'tokenizer.ggml.add_space_prefix': false, 'tokenizer.ggml.add_bos_token': false })
    expect(pieces(tokenizer.encode('hell', { addSpecialTokens: true }))).toEqual(['hell'])
  })

  it('knows which ids are special', () => {
    const tokenizer = sentencePiece()
    expect([0, 1, 2, 3].map((id) => tokenizer.isSpecial(id))).toEqual([true, true, true, false])
    expect(tokenizer.decode([1, 268, 2], skip)).toBe('hello')
    expect(tokenizer.tokenText(268)).toBe(' hello')
    expect(tokenizer.tokenBytes(99_999)).toHaveLength(0)
  })

  it.each([
    ['an unknown kind', { 'tokenizer.ggml.model': 'bert' }],
    ['an unknown pre-tokenizer', { 'tokenizer.ggml.model': 'gpt2', 'tokenizer.ggml.pre': 'toString' }],
    ['merges that are no pairs', { 'tokenizer.ggml.model': 'gpt2', 'tokenizer.ggml.merges': ['a'] }],
    ['too few types', { 'tokenizer.ggml.token_type': [1, 2] }],
    ['tokens that are numbers', { 'tokenizer.ggml.tokens': [1, 2] }],
    ['no tokens', { 'tokenizer.ggml.tokens': [] }],
  ])('with %s is refused', (_, extra) => {
    expect(() => sentencePiece(extra as unknown as Record<string, GgufValue>)).toThrowError(
      expect.objectContaining({ name: 'ModelError', code: 'tokenizer_malformed' }),
    )
  })
})

describe('the splits of the byte-level families', () => {
  /** Every byte a token, and no merge: the ids show nothing, so the pre-tokenizer is asked itself. */
  const split = (pre: string, text: string) => {
    const tokens = Object.keys((createByteTokenizer(PRESETS.tiny).json as { model: { vocab: object } }).model.vocab)
    const metadata = new Map<string, GgufValue>(
      Object.entries({ 'tokenizer.ggml.model': 'gpt2', 'tokenizer.ggml.pre': pre, 'tokenizer.ggml.tokens': tokens }),
    )
    const files = ggufTokenizerJson({ version: 3, metadata, tensors: new Map() }, 'x')!
    const words = new JsonTokenizer(files.tokenizer, {}).pre_tokenizer!.pre_tokenize(text)
    return words.map((word: string) => word.replaceAll('Ġ', ' ').replaceAll('Ċ', '\n'))
  }

  it.each([
    ['gpt-2', "it's 12345", ['it', "'s", ' 12345']],
    ['smollm', 'in 1984.', ['in', ' ', '1', '9', '8', '4', '.']],
    ['llama-bpe', "IT'S 12345\n\nx", ['IT', "'S", ' ', '123', '45', '\n\n', 'x']],
    ['qwen2', 'a 123', ['a', ' ', '1', '2', '3']],
  ])('%s splits %j', (pre, text, words) => {
    expect(split(pre, text)).toEqual(words)
  })
})

describe('tokenizer.json of a directory', () => {
  it('is absent without a word', () => {
    expect(readTokenizerFiles(scratch.path)).toBeNull()
  })
  it.each([
    ['no JSON', '{'],
    ['a list', '[]'],
    ['no model', '{}'],
    ['a model of another kind', '{"model":{"type":"WordPiece","vocab":{"a":0}},"decoder":{"type":"WordPiece"}}'],
    ['an id as text', '{"model":{"type":"BPE","vocab":{"a":"0"},"merges":[]},"decoder":{"type":"ByteLevel"}}'],
    ['an id of 10^9', '{"model":{"type":"BPE","vocab":{"a":1000000000},"merges":[]},"decoder":{"type":"ByteLevel"}}'],
    [
      'added tokens without id',
      '{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"decoder":{"type":"ByteLevel"},"added_tokens":[{"content":"x"}]}',
    ],
  ])('with %s is refused', (_, text) => {
    writeFileSync(join(scratch.path, 'tokenizer.json'), text)
    const model = { vocabSize: 1, bosTokenId: null, eosTokenIds: [] }
    expect(() => createJsonTokenizer(readTokenizerFiles(scratch.path)!, model)).toThrowError(
      expect.objectContaining({ name: 'ModelError', code: 'tokenizer_malformed' }),
    )
  })
})
