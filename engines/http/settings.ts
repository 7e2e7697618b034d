import { randomBytes } from 'node:crypto'
import type { SamplingParams } from '../engine.js'
import { ApiError, quote } from './api-error.js'
import {
  type Body,
  booleanField,
  integerField,
  numberField,
  objectField,
  tokenIdList,
  wrongType,
  wrongValue,
} from './fields.js'

/** What both generation routes accept beside their prompt; validated, defaults filled in (vLLM's). */
export interface GenerationSettings {
  n: number
  stream: boolean
  includeUsage: boolean
  continuousUsage: boolean
  stop: readonly string[]
  includeStop: boolean
  stopTokenIds: readonly number[]
  skipSpecialTokens: boolean
  returnTokenIds: boolean
  ignoreEos: boolean
  priority: number
  /** Sampling of choice i: same seed, same answer; another seed for every choice. */
  sampling(choice: number): SamplingParams
  minTokens: number
}

export const SETTING_FIELDS = [
  ...['model', 'n', 'stream', 'stream_options', 'stop', 'include_stop_str_in_output', 'stop_token_ids'],
  ...[
    'skip_special_tokens',
    'return_token_ids',
    'ignore_eos',
    'priority',
    'seed',
    'min_tokens',
    'temperature',
    'top_p',
  ],
  ...['top_k', 'min_p', 'repetition_penalty', 'presence_penalty', 'frequency_penalty', 'add_special_tokens'],
  ...['logprobs', 'max_tokens', 'tool_choice'],
] as const

export const MAX_CHOICES = 16
const MAX_STOPS = 4
const MAX_STOP_BYTES = 256
const MAX_STOP_TOKEN_IDS = 64
const INT32_MAX = 2 ** 31 - 1

/** Throws ApiError naming the field. `seedDigits`: the seed as it stood in the body (see json.ts). */
export function parseSettings(body: Body, seedDigits: string | null, vocabSize: number): GenerationSettings {
  const stream = booleanField(body, 'stream', false)
  const minTokens = integerField(body, 'min_tokens', 0, INT32_MAX, 0)
  return {
    n: integerField(body, 'n', 1, MAX_CHOICES, 1),
    stream,
    ...parseStreamOptions(body, stream),
    stop: parseStop(body['stop']),
    includeStop: booleanField(body, 'include_stop_str_in_output', false),
    stopTokenIds: parseStopTokenIds(body['stop_token_ids'], vocabSize),
    skipSpecialTokens: booleanField(body, 'skip_special_tokens', true),
    returnTokenIds: booleanField(body, 'return_token_ids', false),
    ignoreEos: booleanField(body, 'ignore_eos', false),
    priority: integerField(body, 'priority', -INT32_MAX, INT32_MAX, 0),
    sampling: parseSampling(body, seedDigits, minTokens),
    minTokens,
  }
}

function parseStreamOptions(body: Body, stream: boolean): { includeUsage: boolean; continuousUsage: boolean } {
  const options = objectField(body, 'stream_options')
  if (options === null) return { includeUsage: false, continuousUsage: false }
  if (!stream)
    throw new ApiError('invalid_value', 'stream_options is only allowed with stream: true.', 'stream_options')
  return {
    includeUsage: booleanField(options, 'include_usage', false),
    continuousUsage: booleanField(options, 'continuous_usage_stats', false),
  }
}

function parseStop(value: unknown): string[] {
  if (value === undefined || value === null) return []
  const stops = typeof value === 'string' ? [value] : value
  if (!Array.isArray(stops)) throw wrongType('stop', 'a string or a list of strings', value)
  if (stops.length > MAX_STOPS) throw wrongValue('stop', `at most ${MAX_STOPS} strings`, value)
  for (const [i, stop] of stops.entries()) {
    if (typeof stop !== 'string') throw wrongType(`stop[${i}]`, 'a string', stop)
    if (stop === '') throw new ApiError('invalid_value', 'stop must not hold an empty string.', 'stop')
    if (Buffer.byteLength(stop) > MAX_STOP_BYTES) throw wrongValue('stop', `at most ${MAX_STOP_BYTES} bytes each`, stop)
  }
  return stops as string[]
}

function parseStopTokenIds(value: unknown, vocabSize: number): number[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw wrongType('stop_token_ids', 'a list of token ids', value)
  if (value.length > MAX_STOP_TOKEN_IDS) throw wrongValue('stop_token_ids', `at most ${MAX_STOP_TOKEN_IDS} ids`, value)
  return tokenIdList(value, 'stop_token_ids', vocabSize)
}

function parseSampling(body: Body, seedDigits: string | null, minTokens: number): (choice: number) => SamplingParams {
  const topK = integerField(body, 'top_k', -1, INT32_MAX, 0)
  const temperature = numberField(body, 'temperature', 0, 2, 1)
  const topP = numberField(body, 'top_p', 0, 1, 1)
  // vLLM: (0, 1]. 0 would keep no token at all.
  if (topP === 0) throw wrongValue('top_p', 'greater than 0 and at most 1', topP)
  const repetitionPenalty = numberField(body, 'repetition_penalty', 0, 2, 1)
  if (repetitionPenalty === 0) throw wrongValue('repetition_penalty', 'greater than 0 and at most 2', repetitionPenalty)
  const common = {
    // The most likely token alone is what temperature 0 takes, so both are sampled the same way.
    temperature: topK === 1 ? 0 : temperature,
    topP,
    topK: Math.max(0, topK),
    minP: numberField(body, 'min_p', 0, 1, 0),
    repetitionPenalty,
    presencePenalty: numberField(body, 'presence_penalty', -2, 2, 0),
    frequencyPenalty: numberField(body, 'frequency_penalty', -2, 2, 0),
    minTokens,
  }
  const seed = parseSeed(body['seed'], seedDigits)
  return (choice) => {
    const own = BigInt.asUintN(64, seed + BigInt(choice))
    return { ...common, seedLow: Number(own & 0xffff_ffffn), seedHigh: Number(own >> 32n) }
  }
}

function parseSeed(value: unknown, digits: string | null): bigint {
  if (value === undefined || value === null) return randomBytes(8).readBigUInt64LE()
  if (typeof value !== 'number') throw wrongType('seed', 'an integer', value)
  const seed = digits !== null ? BigInt(digits.slice(0, 30)) : Number.isSafeInteger(value) ? BigInt(value) : null
  if (seed === null || BigInt.asIntN(64, seed) !== seed) {
    throw new ApiError('invalid_value', `seed must be a 64-bit signed integer; got ${quote(value)}.`, 'seed')
  }
  return seed
}
