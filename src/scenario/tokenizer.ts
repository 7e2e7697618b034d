import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import { request } from 'undici'
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

/**
 * The target's own: POST /tokenize beside /v1, as vLLM has it ({model, prompt, add_special_tokens} -> {tokens}). Throws Failure('target-unreachable')
 * when the route does not answer so.
 */
export function remoteTokenizer(baseUrl: string, model: string, apiKey: string | null): TextTokenizer {
  const url = `${baseUrl.replace(/\/+$/, '').replace(/\/v1$/, '')}/tokenize`
  return {
    name: `${new URL(url).origin} /tokenize`,
    encode: async (text) => {
      const { statusCode, body } = await request(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
        },
        body: JSON.stringify({ model, prompt: text, add_special_tokens: false }),
      })
      const answer = await body.text()
      const tokens = statusCode === 200 ? idsOf(answer) : null
      if (tokens !== null) return tokens
      const seen = answer.slice(0, 80)
      throw new Failure(
        'target-unreachable',
        `${url}: HTTP ${statusCode} ${JSON.stringify(seen)}`,
        'give --tokenizer DIR',
      )
    },
  }
}

function idsOf(answer: string): number[] | null {
  try {
    const { tokens } = JSON.parse(answer) as { tokens?: unknown }
    return Array.isArray(tokens) && tokens.every((id) => Number.isInteger(id)) ? (tokens as number[]) : null
  } catch {
    return null
  }
}
