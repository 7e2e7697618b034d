import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import { Failure } from '../failure.js'

/** Turns text into token ids, without special tokens. */
export interface TextTokenizer {
  /** Printed beside lengths: 'tokenizer.json in DIR', 'http://host /tokenize'. */
  readonly name: string
  encode(text: string): Promise<number[]>
}

/** A folder holding tokenizer.json. Throws Failure('bad-file'). */
export function localTokenizer(folder: string): TextTokenizer {
  const read = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'))
  let tokenizer: Tokenizer
  try {
    const tokenizerJson = read('tokenizer.json')
    let config: object = {}
    try {
      config = read('tokenizer_config.json')
    } catch {
      // Optional: it only names special tokens, which are not added here.
    }
    tokenizer = new Tokenizer(tokenizerJson, config)
  } catch (cause) {
    throw new Failure('bad-file', `no usable tokenizer in ${folder}: ${(cause as Error).message}`, null, { cause })
  }
  return {
    name: `tokenizer.json in ${folder}`,
    encode: async (text) => tokenizer.encode(text, { add_special_tokens: false }).ids,
  }
}
