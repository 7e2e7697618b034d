import { ApiError } from './api-error.js'
import { ignoredFields } from './field-classes.js'
import { type Body, booleanField, integerField, tokenIdList, wrongType, wrongValue } from './fields.js'
import { type GenerationSettings, parseSettings, SETTING_FIELDS } from './settings.js'
import type { TextCodec } from './text-codec.js'

export interface Prompt {
  tokenIds: readonly number[]
  /** As the client wrote it; null for token ids. */
  text: string | null
}

export interface CompletionRequest {
  prompts: readonly Prompt[]
  maxTokens: number
  echo: boolean
  /** -1: none. */
  topLogprobs: number
  settings: GenerationSettings
  /** Names of fields without effect, to be counted. */
  ignored: string[]
}

const MAX_PROMPTS = 64
const MAX_LOGPROBS = 20
const DEFAULT_MAX_TOKENS = 16
const HONOURED: ReadonlySet<string> = new Set([...SETTING_FIELDS, 'prompt', 'echo'])

/** The body of POST /v1/completions, validated. Throws ApiError naming the field. */
export function parseCompletionRequest(body: Body, seedDigits: string | null, codec: TextCodec): CompletionRequest {
  const ignored = ignoredFields(body, HONOURED)
  const settings = parseSettings(body, seedDigits, codec.vocabSize)
  const echo = booleanField(body, 'echo', false)
  const topLogprobs = integerField(body, 'logprobs', 0, MAX_LOGPROBS, -1)
  if (echo && topLogprobs >= 0) {
    throw new ApiError('unsupported_field', 'logprobs cannot be combined with echo.', 'logprobs')
  }
  const maxTokens = integerField(body, 'max_tokens', echo ? 0 : 1, Number.MAX_SAFE_INTEGER, DEFAULT_MAX_TOKENS)
  const addSpecialTokens = booleanField(body, 'add_special_tokens', true)
  return {
    prompts: parsePrompts(body['prompt'], codec, addSpecialTokens),
    maxTokens,
    echo,
    topLogprobs,
    settings,
    ignored,
  }
}

/** string | [string] | [id] | [[id]], never mixed. */
function parsePrompts(value: unknown, codec: TextCodec, addSpecialTokens: boolean): Prompt[] {
  if (value === undefined || value === null) throw new ApiError('missing_field', 'prompt is required.', 'prompt')
  const encode = (text: string, name: string): Prompt => {
    const tokenIds = text === '' ? [] : codec.encode(text, { addSpecialTokens })
    if (tokenIds.length === 0) throw new ApiError('invalid_value', `${name} must not be empty.`, name)
    return { tokenIds, text }
  }
  const ids = (list: readonly unknown[], name: string): Prompt => {
    if (list.length === 0) throw new ApiError('invalid_value', `${name} must not be empty.`, name)
    return { tokenIds: tokenIdList(list, name, codec.vocabSize), text: null }
  }
  if (typeof value === 'string') return [encode(value, 'prompt')]
  if (!Array.isArray(value)) throw wrongType('prompt', 'a string, a list of token ids, or a list of either', value)
  if (value.length === 0) throw new ApiError('invalid_value', 'prompt must not be empty.', 'prompt')
  if (typeof value[0] === 'number') return [ids(value, 'prompt')]
  if (value.length > MAX_PROMPTS) throw wrongValue('prompt', `a list of at most ${MAX_PROMPTS} prompts`, value)
  const textual = typeof value[0] === 'string'
  return value.map((item: unknown, i) => {
    const name = `prompt[${i}]`
    if (textual && typeof item === 'string') return encode(item, name)
    if (!textual && Array.isArray(item)) return ids(item, name)
    throw wrongType(name, textual ? 'a string' : 'a list of token ids', item)
  })
}
