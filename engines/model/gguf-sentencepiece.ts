import { type GgufVocabulary, TOKEN_TYPE } from './gguf-vocabulary.js'

/**
 * SentencePiece BPE (Llama 2, TinyLlama) as a tokenizer.json model. SentencePiece merges the pair whose result has the highest
 * score; the same order comes from listing every split of every token into two tokens by falling score
 * (transformers/convert_slow_tokenizer.py, generate_merges).
 */
export function sentencePieceModel(vocabulary: GgufVocabulary): Record<string, unknown> {
  const { tokens, types, addsSpacePrefix } = vocabulary
  const space = { type: 'Replace', pattern: { String: ' ' }, content: '▁' }
  const prefix = { type: 'Prepend', prepend: '▁' }
  const strip = { type: 'Strip', content: ' ', start: 1, stop: 0 }
  const unknown = types.indexOf(TOKEN_TYPE.unknown)
  return {
    normalizer: { type: 'Sequence', normalizers: addsSpacePrefix ? [prefix, space] : [space] },
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(addsSpacePrefix ? [strip] : []),
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: unknown < 0 ? null : tokens[unknown],
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: mergesByScore(vocabulary),
    },
  }
}

function mergesByScore({ tokens, types, scores }: GgufVocabulary): string[] {
  const ids = new Map(tokens.map((token, id) => [token, id]))
  const merges: { left: string; right: string; score: number; leftId: number; rightId: number }[] = []
  tokens.forEach((token, id) => {
    if ((types[id] ?? TOKEN_TYPE.normal) !== TOKEN_TYPE.normal) return
    const characters = [...token]
    for (let cut = 1; cut < characters.length; cut++) {
      const left = characters.slice(0, cut).join('')
      const right = characters.slice(cut).join('')
      const leftId = ids.get(left)
      const rightId = ids.get(right)
      if (leftId !== undefined && rightId !== undefined)
        merges.push({ left, right, score: scores[id] ?? -id, leftId, rightId })
    }
  })
  merges.sort((a, b) => b.score - a.score || a.leftId - b.leftId || a.rightId - b.rightId)
  return merges.map(({ left, right }) => `${left} ${right}`)
}
