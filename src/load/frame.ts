import { isUtf8 } from 'node:buffer'

/** What one event of an OpenAI stream says, read with JSON.parse: the slow, sure reading. frame-template.ts is the fast one. */
export interface Frame {
  kind: 'done' | 'error' | 'json'
  /** The first choice's text: completion, delta content, reasoning or tool call; '' when there is none. */
  text: string
  textKind: 'output' | 'reasoning' | 'tool' | null
  tokenIds: number[] | null
  /** It has a choice, with or without tokens. */
  hasChoice: boolean
  finishReason: string | null
  usage: Usage | null
  /** Error text of the server, or why the frame is not valid. */
  problem: string | null
}

/** Counts as the server wrote them, unchecked: null where absent. */
export interface Usage {
  promptTokens: number | null
  completionTokens: number | null
  cachedTokens: number | null
}

const DONE = Buffer.from('[DONE]')

/**
 * Reads an event's data. An object without choices and error is a frame without tokens (usage, ping). Throws BadFrame when it is no JSON object,
 * or has choices other than the one asked for.
 */
export function readFrame(data: Uint8Array, eventName: string | null): Frame {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  if (isDone(bytes)) return { ...EMPTY, kind: 'done' }
  if (!isUtf8(bytes)) throw new BadFrame('not UTF-8')
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch {
    if (eventName === 'error') return { ...EMPTY, kind: 'error', problem: oneLine(bytes.toString('utf8')) }
    throw new BadFrame(`not JSON: ${oneLine(bytes.toString('utf8', 0, 80))}`)
  }
  if (!isRecord(value)) throw new BadFrame(`not an object: ${oneLine(bytes.toString('utf8', 0, 80))}`)
  if (eventName === 'error' || (value['error'] !== undefined && value['error'] !== null)) {
    return { ...EMPTY, kind: 'error', problem: errorText(value['error'] ?? value) }
  }
  const usage = readUsage(value['usage'])
  const choices = value['choices']
  if (choices === undefined || choices === null) return { ...EMPTY, usage }
  if (!Array.isArray(choices)) throw new BadFrame('choices is not a list')
  if (choices.length === 0) return { ...EMPTY, usage }
  const choice: unknown = choices[0]
  if (choices.length > 1 || !isRecord(choice))
    throw new BadFrame(`${choices.length} choices in a frame, one was asked for`)
  if (typeof choice['index'] === 'number' && choice['index'] !== 0) {
    throw new BadFrame(`choice ${choice['index']}, but only one was asked for`)
  }
  const finish = choice['finish_reason']
  const ids = choice['token_ids']
  return {
    ...EMPTY,
    ...readText(choice),
    hasChoice: true,
    tokenIds: Array.isArray(ids) && ids.every((id) => typeof id === 'number') ? ids : null,
    // Some servers write '' before the end; it means null.
    finishReason: typeof finish === 'string' && finish !== '' ? oneLine(finish) : null,
    usage,
  }
}

/** Not a valid frame of a stream with one choice; the message says why. */
export class BadFrame extends Error {}

export function isDone(bytes: Buffer): boolean {
  return bytes.length === DONE.length && bytes.equals(DONE)
}

const EMPTY: Frame = {
  kind: 'json',
  text: '',
  textKind: null,
  tokenIds: null,
  hasChoice: false,
  finishReason: null,
  usage: null,
  problem: null,
}

function readText(choice: Record<string, unknown>): Pick<Frame, 'text' | 'textKind'> {
  if (typeof choice['text'] === 'string')
    return { text: choice['text'], textKind: choice['text'] === '' ? null : 'output' }
  const delta = choice['delta']
  if (!isRecord(delta)) return { text: '', textKind: null }
  const content = delta['content']
  if (typeof content === 'string' && content !== '') return { text: content, textKind: 'output' }
  for (const key of ['reasoning_content', 'reasoning']) {
    const reasoning = delta[key]
    if (typeof reasoning === 'string' && reasoning !== '') return { text: reasoning, textKind: 'reasoning' }
  }
  const calls = delta['tool_calls']
  if (Array.isArray(calls) && calls.length > 0) return { text: JSON.stringify(calls), textKind: 'tool' }
  return { text: '', textKind: null }
}

function readUsage(usage: unknown): Usage | null {
  if (!isRecord(usage)) return null
  const details = usage['prompt_tokens_details']
  const count = (value: unknown) => (typeof value === 'number' ? value : null)
  return {
    promptTokens: count(usage['prompt_tokens']),
    completionTokens: count(usage['completion_tokens']),
    cachedTokens: isRecord(details) ? count(details['cached_tokens']) : null,
  }
}

/** The message of an error body in any of the shapes servers use; one bounded line. */
export function errorText(error: unknown): string {
  if (typeof error === 'string') return oneLine(error)
  if (!isRecord(error)) return oneLine(JSON.stringify(error))
  const inner = error['error'] ?? error
  const message = isRecord(inner) ? (inner['message'] ?? inner['detail']) : inner
  return oneLine(typeof message === 'string' ? message : JSON.stringify(inner))
}

/** Server text for a record or a terminal: no control or escape characters, at most 200 characters. */
export function oneLine(text: string): string {
  return text
    .replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')
    .trim()
    .slice(0, 200)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
