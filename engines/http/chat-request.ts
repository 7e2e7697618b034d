import { ApiError, quote } from './api-error.js'
import { ignoredFields } from './field-classes.js'
import { type Body, booleanField, integerField, isObject, wrongType } from './fields.js'
import { type GenerationSettings, parseSettings, SETTING_FIELDS } from './settings.js'
import type { ChatMessage, ChatTemplate, TextCodec } from './text-codec.js'

export interface ChatRequest {
  promptTokenIds: readonly number[]
  /** null: the rest of the context. */
  maxTokens: number | null
  /** -1: none. */
  topLogprobs: number
  settings: GenerationSettings
  ignored: string[]
}

const MAX_TOP_LOGPROBS = 20
const ROLES: ReadonlySet<unknown> = new Set(['system', 'developer', 'user', 'assistant', 'tool'])
const HONOURED: ReadonlySet<string> = new Set([
  ...SETTING_FIELDS,
  'messages',
  'max_completion_tokens',
  'top_logprobs',
  'add_generation_prompt',
])

/** The body of POST /v1/chat/completions, validated and rendered to tokens. Throws ApiError naming the field. */
export function parseChatRequest(
  body: Body,
  seedDigits: string | null,
  codec: TextCodec,
  template: ChatTemplate,
): ChatRequest {
  const ignored = ignoredFields(body, HONOURED)
  const settings = parseSettings(body, seedDigits, codec.vocabSize)
  const maxTokens = integerField(body, 'max_tokens', 1, Number.MAX_SAFE_INTEGER, null)
  const maxCompletionTokens = integerField(body, 'max_completion_tokens', 1, Number.MAX_SAFE_INTEGER, null)
  const promptTokenIds = renderPrompt(body, codec, template)
  return {
    promptTokenIds,
    maxTokens: maxCompletionTokens ?? maxTokens,
    topLogprobs: parseLogprobs(body),
    settings,
    ignored,
  }
}

/** messages -> template -> token ids. Also serves /tokenize. */
export function renderPrompt(body: Body, codec: TextCodec, template: ChatTemplate): number[] {
  const messages = parseMessages(body['messages'])
  const addGenerationPrompt = booleanField(body, 'add_generation_prompt', true)
  let text: string
  try {
    text = template.render(messages, { addGenerationPrompt })
  } catch (error) {
    const reason = error instanceof Error ? error.message : ''
    throw new ApiError('chat_template_error', `The model's chat template refused the messages: ${reason}`, 'messages', {
      cause: error,
    })
  }
  // The template writes the special tokens itself.
  const ids = codec.encode(text, { addSpecialTokens: booleanField(body, 'add_special_tokens', false) })
  if (ids.length === 0) throw new ApiError('invalid_value', 'messages give an empty prompt.', 'messages')
  return ids
}

function parseLogprobs(body: Body): number {
  const wanted = booleanField(body, 'logprobs', false)
  const top = integerField(body, 'top_logprobs', 0, MAX_TOP_LOGPROBS, null)
  if (!wanted && top !== null) {
    throw new ApiError('invalid_value', 'top_logprobs is only allowed with logprobs: true.', 'top_logprobs')
  }
  return wanted ? (top ?? 0) : -1
}

function parseMessages(value: unknown): ChatMessage[] {
  if (value === undefined || value === null) throw new ApiError('missing_field', 'messages is required.', 'messages')
  if (!Array.isArray(value)) throw wrongType('messages', 'a list', value)
  if (value.length === 0) throw new ApiError('invalid_value', 'messages must not be empty.', 'messages')
  return value.map(parseMessage)
}

function parseMessage(value: unknown, i: number): ChatMessage {
  const path = `messages[${i}]`
  if (!isObject(value)) throw wrongType(path, 'an object', value)
  const role = value['role']
  if (role === undefined) throw new ApiError('missing_field', `${path}.role is required.`, `${path}.role`)
  if (typeof role !== 'string') throw wrongType(`${path}.role`, 'a string', role)
  if (!ROLES.has(role)) {
    throw new ApiError('invalid_value', `${path}.role ${quote(role)} is not a known role.`, `${path}.role`)
  }
  const message: ChatMessage = {
    role: role === 'developer' ? 'system' : role,
    content: parseContent(value['content'], role, `${path}.content`),
  }
  if (typeof value['name'] === 'string') message.name = value['name']
  return message
}

function parseContent(value: unknown, role: string, path: string): string {
  if (typeof value === 'string') return value
  if (value === null && role === 'assistant') return ''
  if (value === undefined || value === null) throw new ApiError('missing_field', `${path} is required.`, path)
  if (!Array.isArray(value)) throw wrongType(path, 'a string or a list of parts', value)
  return value.map((part: unknown, i) => parsePart(part, `${path}[${i}]`)).join('')
}

function parsePart(part: unknown, path: string): string {
  if (!isObject(part)) throw wrongType(path, 'an object', part)
  if (part['type'] !== 'text') {
    throw new ApiError('unsupported_field', `${path} must be a text part; got type ${quote(part['type'])}.`, path)
  }
  if (typeof part['text'] !== 'string') throw wrongType(`${path}.text`, 'a string', part['text'])
  return part['text']
}
