import { connect } from 'node:net'
import { expect } from 'vitest'
import type { Target } from './target.js'

/** Answers are checked field by field by the cases. */
export type Json = ReturnType<typeof JSON.parse>

export interface Answer {
  status: number
  headers: Headers
  text: string
  json: Json
}

/** One server-sent event: parsed JSON, or '[DONE]', or a comment. */
export interface Event {
  data: Json
  comment: string | null
}

/** Requests to one target in the words of the cases. */
export class Api {
  constructor(readonly target: Target) {}

  async get(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
    return answer(await fetch(this.target.url + path, { method, headers }))
  }

  async post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    return answer(
      await fetch(this.target.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
      }),
    )
  }

  complete(body: object): Promise<Answer> {
    return this.post('/v1/completions', { prompt: 'The fox', max_tokens: 8, temperature: 0, ...body })
  }

  chat(body: object): Promise<Answer> {
    const messages = [{ role: 'user', content: 'Hello' }]
    return this.post('/v1/chat/completions', { messages, max_tokens: 8, temperature: 0, ...body })
  }

  async streamCompletion(body: object): Promise<Event[]> {
    const { status, text } = await this.complete({ stream: true, ...body })
    expect(status).toBe(200)
    return parseEvents(text)
  }

  async streamChat(body: object): Promise<Event[]> {
    const { status, text } = await this.chat({ stream: true, ...body })
    expect(status).toBe(200)
    return parseEvents(text)
  }

  /** Sends bytes as they are and returns all that comes back until the server closes, or `idleMs` passed without a byte. */
  raw(request: string | Uint8Array, idleMs = 1500): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.target.port, '127.0.0.1', () => socket.write(request))
      let text = ''
      const done = () => {
        socket.destroy()
        resolve(text)
      }
      socket.setTimeout(idleMs, done)
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1')
      })
      socket.on('end', done)
      socket.on('error', (error: NodeJS.ErrnoException) => (text === '' ? reject(error) : done()))
    })
  }
}

async function answer(response: Response): Promise<Answer> {
  const text = await response.text()
  const type = response.headers.get('content-type') ?? ''
  const json = type.startsWith('application/json') && text !== '' ? JSON.parse(text) : null
  return { status: response.status, headers: response.headers, text, json }
}

/** Strict: every event is one `data: ` line (with the space, which Open WebUI needs) or a comment, and a blank line. */
export function parseEvents(text: string): Event[] {
  expect(text.endsWith('\n\n')).toBe(true)
  return text
    .slice(0, -2)
    .split('\n\n')
    .map((block) => {
      if (block.startsWith(':')) return { data: null, comment: block.slice(1).trim() }
      expect(block).toMatch(/^data: [^\n]*$/)
      const data = block.slice('data: '.length)
      return { data: data === '[DONE]' ? data : JSON.parse(data), comment: null }
    })
}

/** Events that carry a choice. */
export function choices(events: Event[], index = 0): Json[] {
  return events
    .map((event) => event.data)
    .filter((data) => data !== null && data !== '[DONE]' && data.choices?.[0]?.index === index)
    .map((data) => data.choices[0])
}

export function joinText(events: Event[], index = 0): string {
  return choices(events, index)
    .map((choice) => choice.text ?? choice.delta?.content ?? '')
    .join('')
}

/** The error object of the reference, whole and small. */
export function expectError(answer: Answer, status: number, code?: string): void {
  expect({ status: answer.status, text: answer.text }).toMatchObject({ status })
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
  expect(Object.keys(answer.json)).toEqual(['error'])
  expect(Object.keys(answer.json.error).sort()).toEqual(['code', 'message', 'param', 'type'])
  expect(typeof answer.json.error.message).toBe('string')
  expect(typeof answer.json.error.type).toBe('string')
  expect(Buffer.byteLength(answer.text)).toBeLessThanOrEqual(1024)
  if (code !== undefined) expect(answer.json.error.code).toBe(code)
}
