import { ApiError } from './api-error.js'
import { type Body, isObject } from './fields.js'

/**
 * No field that changes the answer is dropped in silence: it is honoured, or refused here with 400. What remains is ignored and counted
 * in /metrics by name.
 */
export function ignoredFields(body: Body, honoured: ReadonlySet<string>): string[] {
  for (const [name, accepts] of REFUSED) {
    const value = body[name]
    if (value !== undefined && value !== null && !accepts(value)) {
      throw new ApiError('unsupported_field', `${name} is not supported by this server.`, name)
    }
  }
  refuseTools(body)
  return Object.keys(body).filter((name) => !honoured.has(name) && !REFUSED.has(name))
}

/** The label of an ignored field: names nobody knows share one, so that clients cannot grow /metrics. */
export function ignoredFieldLabel(name: string): string {
  return KNOWN_IGNORED.has(name) ? name : 'other'
}

const KNOWN_IGNORED = new Set(
  'user metadata store service_tier parallel_tool_calls tools safety_identifier prompt_cache_key request_id'.split(' '),
)

const never = () => false
const emptyObject = (value: unknown) => isObject(value) && Object.keys(value).length === 0
const atMostOne = (value: unknown) => value === 1 || value === 0
const textOnly = (value: unknown) => Array.isArray(value) && value.length === 1 && value[0] === 'text'
const textFormat = (value: unknown) => isObject(value) && value['type'] === 'text'
const isFalse = (value: unknown) => value === false

/** Fields that would change the answer, each with the values that ask for what this server does anyway. */
const REFUSED = new Map<string, (value: unknown) => boolean>([
  ['suffix', never],
  ['best_of', atMostOne],
  ['logit_bias', emptyObject],
  ['response_format', textFormat],
  ['modalities', textOnly],
  ['audio', never],
  ['prediction', never],
  ['prompt_logprobs', never],
  ['functions', never],
  ['function_call', never],
  ['chat_template', never],
  ['chat_template_kwargs', emptyObject],
  ['documents', never],
  ['continue_final_message', isFalse],
  ['guided_json', never],
  ['guided_regex', never],
  ['guided_choice', never],
  ['guided_grammar', never],
  ['structured_outputs', never],
  ['use_beam_search', isFalse],
  ['length_penalty', (value) => value === 1],
  ['bad_words', (value) => Array.isArray(value) && value.length === 0],
  ['allowed_token_ids', never],
  ['logits_processors', never],
  ['prompt_embeds', never],
  ['truncate_prompt_tokens', never],
  ['kv_transfer_params', never],
])

/** Tools are ignored when the choice is 'none' or absent (absent means 'auto' to OpenAI: documented), refused otherwise. */
function refuseTools(body: Body): void {
  const tools = body['tools']
  const choice = body['tool_choice']
  if (tools !== undefined && tools !== null && (!Array.isArray(tools) || tools.length === 0)) {
    throw new ApiError('invalid_value', 'tools must be a list of at least one tool.', 'tools')
  }
  if (choice !== undefined && choice !== null && choice !== 'none') {
    throw new ApiError('unsupported_field', "tool_choice is not supported other than 'none'.", 'tool_choice')
  }
}
