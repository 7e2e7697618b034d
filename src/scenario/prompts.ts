import type { RandomStream } from './random.js'
import type { TextTokenizer } from './tokenizer.js'
import { WORDS } from './words.js'

/** Where random token ids are drawn from: [low, high), clear of special tokens at either end of the vocabulary. */
export interface IdRange {
  low: number
  high: number
}

/** Special and byte tokens mostly fill the first few hundred ids and the last few per cent (Llama 3: from 128000 of 128256). */
export function safeIdRange(vocabSize: number): IdRange {
  return { low: Math.min(1000, Math.floor(vocabSize / 10)), high: Math.max(2, Math.floor(vocabSize * 0.97)) }
}

/** `count` random ids. */
export function randomIds(count: number, range: IdRange, random: RandomStream): number[] {
  return Array.from({ length: count }, () => random.integer(range.low, range.high))
}

/** Makes text of an exact token count where the tokenizer allows it; without a tokenizer one word is taken for one token. */
export interface TextMaker {
  exact: boolean
  make(tokens: number, random: RandomStream): Promise<string>
}

/** Keeps the words that are one token when they follow a space, then corrects each text until it counts right. */
export async function textMaker(tokenizer: TextTokenizer | null): Promise<TextMaker> {
  if (tokenizer === null) return { exact: false, make: async (tokens, random) => sentence(WORDS, tokens, random) }
  const words: string[] = []
  for (const word of WORDS) if ((await tokenizer.encode(` ${word}`)).length === 1) words.push(word)
  const pool = words.length >= 20 ? words : WORDS
  return { exact: true, make: (tokens, random) => exactText(tokenizer, pool, tokens, random) }
}

async function exactText(
  tokenizer: TextTokenizer,
  words: readonly string[],
  tokens: number,
  random: RandomStream,
): Promise<string> {
  const parts = sentence(words, tokens, random).split(' ')
  for (let attempt = 0; attempt < 8; attempt++) {
    const surplus = (await tokenizer.encode(parts.join(' '))).length - tokens
    if (surplus === 0) break
    if (surplus > 0) parts.length = Math.max(1, parts.length - surplus)
    else parts.push(...sentence(words, -surplus, random).split(' '))
  }
  return parts.join(' ')
}

function sentence(words: readonly string[], count: number, random: RandomStream): string {
  return Array.from({ length: Math.max(1, count) }, () => words[random.integer(0, words.length)]!).join(' ')
}
