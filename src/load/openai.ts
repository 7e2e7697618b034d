import { Failure } from '../failure.js'
import type { PlanRow } from '../result/schema.js'
import type { Scenario } from '../scenario/types.js'

/** How a target is spoken to. */
export interface ApiOptions {
  api: 'completions' | 'chat'
  model: string
  /** Ask for token ids in the stream (built-in engines, vLLM): the best count there is. */
  returnTokenIds: boolean
  /** Ask for usage on every frame, where ids are not to be had. */
  continuousUsage: boolean
}

/** The path below the base URL. */
export function apiPath(api: ApiOptions['api']): string {
  return api === 'chat' ? 'chat/completions' : 'completions'
}

/**
 * The body of one planned request with its (salted) prompt: streaming, usage asked for. Throws Failure('usage') when the chat API is to send token ids.
 */
export function requestBody(row: PlanRow, prompt: number[] | string, scenario: Scenario, options: ApiOptions): string {
  const { sampling, workload } = scenario
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
