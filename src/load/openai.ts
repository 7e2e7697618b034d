import { Failure } from '../failure.js'
import type { PlanRow } from '../result/schema.js'
import { type IdRange, randomIds, safeIdRange } from '../scenario/prompts.js'
import { RandomStream } from '../scenario/random.js'
import type { Scenario } from '../scenario/types.js'
import { WORDS } from '../scenario/words.js'

/** How a target is spoken to. */
export interface ApiOptions {
  api: 'completions' | 'chat'
  model: string
  /** Ask for token ids in the stream (built-in engines, vLLM): the best count there is. */
  returnTokenIds: boolean
  /** Ask for usage on every frame, where ids are not to be had. */
  continuousUsage: boolean
}

/** Tokens of salt at the front of a prompt; they replace as many planned ones, so lengths stay as planned. */
const SALT_TOKENS = 8

/** The path below the base URL. */
export function apiPath(api: ApiOptions['api']): string {
  return api === 'chat' ? 'chat/completions' : 'completions'
}

/**
 * The body of one planned request, streaming, with usage asked for. Under cache policy cold each row gets a salt of its own, under shared the run's;
 * both are new in each run (`salt`) and no part of the plan hash. Throws Failure('usage') when the chat API is to send token ids.
 */
export function requestBody(row: PlanRow, scenario: Scenario, options: ApiOptions, salt: string): string {
  const { sampling, workload } = scenario
  const prompt = saltedPrompt(row, scenario.cache, salt)
  return JSON.stringify({
    model: options.model,
    ...promptField(prompt, options.api),
    max_tokens: row.outputTokens,
    temperature: sampling.temperature,
    ...(sampling.topP === null ? {} : { top_p: sampling.topP }),
    seed: row.seed,
    stream: true,
    stream_options: options.continuousUsage
      ? { include_usage: true, continuous_usage_stats: true }
      : { include_usage: true },
    ...(workload.enforce === 'ignore_eos' ? { ignore_eos: true } : {}),
    ...(workload.enforce === 'min_tokens' ? { min_tokens: row.outputTokens } : {}),
    ...(options.returnTokenIds ? { return_token_ids: true } : {}),
  })
}

function promptField(prompt: number[] | string, api: ApiOptions['api']): Record<string, unknown> {
  if (api === 'completions') return { prompt }
  if (typeof prompt === 'string') return { messages: [{ role: 'user', content: prompt }] }
  throw new Failure('usage', 'the chat API takes text, not token ids', 'add --prompt text, or use the completions API')
}

function saltedPrompt(row: PlanRow, cache: Scenario['cache'], salt: string): number[] | string {
  const plain = row.promptIds ?? row.prompt ?? ''
  if (cache === 'as-is' || cache === 'warm') return plain
  // Turns of a conversation share their salt, or they would not share their history.
  const own = row.conversation === null ? `row ${row.index}` : `conversation ${row.conversation}`
  const random = new RandomStream(0, 'salt', salt, cache === 'cold' ? own : 'run')
  const tokens = Math.min(SALT_TOKENS, Math.floor(row.inputTokens / 2))
  if (typeof plain !== 'string') return [...saltIds(plain, tokens, random), ...plain.slice(tokens)]
  const words = plain.split(' ')
  const saltWords = Array.from({ length: tokens }, () => WORDS[random.integer(0, WORDS.length)]!)
  return [...saltWords, ...words.slice(tokens)].join(' ')
}

/** Ids from the span that the prompt itself uses: certainly in the vocabulary. */
function saltIds(ids: readonly number[], count: number, random: RandomStream): number[] {
  const range: IdRange = ids.length < 2 ? safeIdRange(2000) : { low: 0, high: 0 }
  for (const id of ids) {
    range.low = range.low === 0 ? id : Math.min(range.low, id)
    range.high = Math.max(range.high, id + 1)
  }
  return randomIds(count, range, random)
}
