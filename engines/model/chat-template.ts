import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Checkpoint } from './checkpoint.js'
import { ModelError } from './errors.js'
import { readJson } from './hf-config.js'
import { JinjaTemplate, MAX_TEMPLATE_CHARACTERS } from './jinja-template.js'
import type { Tokenizer } from './tokenizer.js'

export interface ChatMessage {
  role: string
  content: string
  name?: string
}

/** Renders a conversation to the prompt the model was trained on. */
export interface ChatTemplate {
  /** Throws ModelError template_failed: the template refuses the conversation, runs too long or writes too much. */
  render(messages: readonly ChatMessage[], options: { addGenerationPrompt: boolean }): string
  /** The Jinja text; null for the plain fallback of models without one. */
  readonly source: string | null
}

type Json = Record<string, unknown>

/**
 * The chat template of a checkpoint: chat_template.jinja, tokenizer_config.json, chat_template.json or the GGUF metadata, in this
 * order; else "role: content" lines. A rendered prompt carries its own BOS: encode it with addSpecialTokens false.
 */
export function loadChatTemplate(checkpoint: Checkpoint | null, tokenizer: Tokenizer): ChatTemplate {
  const tokenizerConfig =
    checkpoint === null || checkpoint.gguf ? {} : optionalJson(join(checkpoint.path, 'tokenizer_config.json'))
  const source = checkpoint === null ? null : templateSource(checkpoint, tokenizerConfig)
  if (source === null) return { source, render: renderPlain }
  const tokens = {
    bos_token: tokenContent(tokenizerConfig['bos_token']) ?? textOf(tokenizer, tokenizer.bosTokenId),
    eos_token: tokenContent(tokenizerConfig['eos_token']) ?? textOf(tokenizer, tokenizer.eosTokenIds[0] ?? null),
  }
  const template = new JinjaTemplate(source)
  return {
    source,
    render: (messages, { addGenerationPrompt }) =>
      template.render({ ...tokens, messages, add_generation_prompt: addGenerationPrompt }),
  }
}

function templateSource(checkpoint: Checkpoint, tokenizerConfig: Json): string | null {
  if (checkpoint.gguf) {
    const template = checkpoint.gguf.metadata.get('tokenizer.chat_template')
    return typeof template === 'string' ? template : null
  }
  const jinja = join(checkpoint.path, 'chat_template.jinja')
  if (existsSync(jinja)) return readTemplate(jinja)
  const other = optionalJson(join(checkpoint.path, 'chat_template.json'))
  return chosenTemplate(tokenizerConfig['chat_template']) ?? chosenTemplate(other['chat_template'])
}

/** One template, or a list of named ones of which "default" is taken. */
function chosenTemplate(value: unknown): string | null {
  if (typeof value === 'string') return value
  if (!Array.isArray(value)) return null
  const chosen: unknown = value.find((entry) => entry?.name === 'default')?.template ?? value[0]?.template
  return typeof chosen === 'string' ? chosen : null
}

function readTemplate(path: string): string {
  const size = statSync(path).size
  if (size <= 4 * MAX_TEMPLATE_CHARACTERS) return readFileSync(path, 'utf8')
  throw new ModelError('template_failed', `${path} has ${size} bytes`, 'chat_template')
}

function optionalJson(path: string): Json {
  return existsSync(path) ? readJson(path) : {}
}

function tokenContent(value: unknown): string | null {
  const content = typeof value === 'object' && value !== null ? (value as Json)['content'] : value
  return typeof content === 'string' ? content : null
}

function textOf(tokenizer: Tokenizer, id: number | null): string {
  return id === null ? '' : tokenizer.tokenText(id)
}

function renderPlain(
  messages: readonly ChatMessage[],
  { addGenerationPrompt }: { addGenerationPrompt: boolean },
): string {
  const lines = messages.map(({ role, content }) => `${role}: ${content}\n`)
  return lines.join('') + (addGenerationPrompt ? 'assistant:' : '')
}
