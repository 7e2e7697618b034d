import { ModelError } from './errors.js'
import type { GgufHeader } from './gguf.js'
import { sentencePieceModel } from './gguf-sentencepiece.js'
import { type GgufVocabulary, readGgufVocabulary, TOKEN_TYPE } from './gguf-vocabulary.js'
import type { TokenizerFiles } from './vocabulary-bytes.js'

/** The tokenizer.json that a GGUF file's metadata describes; null when it carries none. Throws ModelError tokenizer_malformed. */
export function ggufTokenizerJson(header: GgufHeader, path: string): TokenizerFiles | null {
  const kind = header.metadata.get('tokenizer.ggml.model')
  if (kind === undefined || kind === 'no_vocab' || kind === 'none') return null
  const vocabulary = readGgufVocabulary(header, path)
  if (kind === 'gpt2') return { tokenizer: { ...common(vocabulary), ...byteLevelModel(vocabulary) }, config: {}, path }
  if (kind === 'llama')
    return { tokenizer: { ...common(vocabulary), ...sentencePieceModel(vocabulary) }, config: {}, path }
  throw malformed(path, 'tokenizer.ggml.model', `${JSON.stringify(kind)}; gpt2 and llama are read`)
}

/** Added tokens and the post-processor that puts the BOS first. */
function common(vocabulary: GgufVocabulary): Record<string, unknown> {
  const { tokens, types, bosTokenId, addsBos } = vocabulary
  const added = tokens.flatMap((content, id) => {
    const type = types[id]
    const special = type === TOKEN_TYPE.control || type === TOKEN_TYPE.unknown
    if (!special && type !== TOKEN_TYPE.userDefined) return []
    return [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }]
  })
  const bos = addsBos && bosTokenId !== null ? tokens[bosTokenId]! : null
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    post_processor: bos === null ? null : startsWith(bos, bosTokenId!),
  }
}

function startsWith(bos: string, id: number): object {
  const special = { SpecialToken: { id: bos, type_id: 0 } }
  const sequence = (name: string) => ({ Sequence: { id: name, type_id: 0 } })
  return {
    type: 'TemplateProcessing',
    single: [special, sequence('A')],
    pair: [special, sequence('A'), special, sequence('B')],
    special_tokens: { [bos]: { id: bos, ids: [id], tokens: [bos] } },
  }
}

/** Byte-level BPE as GPT-2, with the split of the model's own tokenizer.json. */
function byteLevelModel(vocabulary: GgufVocabulary): Record<string, unknown> {
  const { tokens, merges, preTokenizer, path } = vocabulary
  const split = Object.hasOwn(PRE_TOKENIZERS, preTokenizer) ? PRE_TOKENIZERS[preTokenizer] : undefined
  if (split === undefined) {
    const known = Object.keys(PRE_TOKENIZERS).join(', ')
    throw malformed(path, 'tokenizer.ggml.pre', `${JSON.stringify(preTokenizer)}; known: ${known}`)
  }
  for (const merge of merges) {
    if (!/^[^ ]+ [^ ]+$/.test(merge))
      throw malformed(path, 'tokenizer.ggml.merges', `${JSON.stringify(merge)} is no pair`)
  }
  return {
    normalizer: split.normalizer,
    pre_tokenizer: split.preTokenizer,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: split.ignoreMerges,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  }
}

interface ByteLevelSplit {
  normalizer: object | null
  preTokenizer: object
  ignoreMerges: boolean
}

const byteLevel = (usesRegex: boolean) => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: usesRegex,
})

/** Words, up to `digits` digits at a time, punctuation, white space: the pattern of Llama 3 and of Qwen 2. */
const wordSplit = (digits: string) => ({
  type: 'Sequence',
  pretokenizers: [
    {
      type: 'Split',
      pattern: {
        Regex:
          "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" +
          digits +
          '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+',
      },
      behavior: 'Isolated',
      invert: false,
    },
    byteLevel(false),
  ],
})

/** The Digits pre-tokenizer, spelled out: every numeral alone, also those that \d does not match (½). */
const SINGLE_NUMERALS = { type: 'Split', pattern: { Regex: '\\p{N}' }, behavior: 'Isolated', invert: false }

const GPT2: ByteLevelSplit = { normalizer: null, preTokenizer: byteLevel(true), ignoreMerges: false }
const LLAMA3: ByteLevelSplit = { normalizer: null, preTokenizer: wordSplit('\\p{N}{1,3}'), ignoreMerges: true }

/** By tokenizer.ggml.pre. */
const PRE_TOKENIZERS: Readonly<Record<string, ByteLevelSplit>> = {
  default: GPT2,
  'gpt-2': GPT2,
  'llama-bpe': LLAMA3,
  'llama-v3': LLAMA3,
  llama3: LLAMA3,
  qwen2: { normalizer: { type: 'NFC' }, preTokenizer: wordSplit('\\p{N}'), ignoreMerges: false },
  smollm: {
    normalizer: null,
    preTokenizer: { type: 'Sequence', pretokenizers: [SINGLE_NUMERALS, byteLevel(true)] },
    ignoreMerges: false,
  },
}

function malformed(path: string, field: string, what: string): ModelError {
  return new ModelError('tokenizer_malformed', `${path}: ${field}: ${what}`, field)
}
