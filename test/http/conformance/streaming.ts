import { connect } from 'node:net'
import { expect, it } from 'vitest'
import { Api, choices, expectError, type Json, joinText, parseEvents } from './api.js'
import type { StartTarget } from './target.js'

/** C45-C55: streaming. */
export function streamingCases(api: () => Api, start: StartTarget): void {
  it('C45 streams a chat: role, text, one empty delta with the reason, [DONE]', async () => {
    const { headers, text } = await api().chat({ stream: true, ignore_eos: true })
    expect(headers.get('content-type')).toMatch(/^text\/event-stream/)
    expect(headers.get('cache-control')).toBe('no-cache')
    const events = parseEvents(text)
    expect(events.at(-1)?.data).toBe('[DONE]')
    const chunks = events.slice(0, -1).map((event) => event.data)
    const [first] = chunks
    expect(first.id).toMatch(/^chatcmpl-/)
    for (const chunk of chunks) {
      expect(chunk).toMatchObject({
        id: first.id,
        object: 'chat.completion.chunk',
        created: first.created,
        model: first.model,
      })
      expect(chunk.choices).toHaveLength(1)
      expect('usage' in chunk).toBe(false)
    }
    const [opening, ...rest] = choices(events)
    expect(opening).toEqual({
      index: 0,
      delta: { role: 'assistant', content: '' },
      logprobs: null,
      finish_reason: null,
    })
    expect(rest.at(-1)).toEqual({ index: 0, delta: {}, logprobs: null, finish_reason: 'length' })
    for (const choice of rest.slice(0, -1)) {
      expect(choice.delta.content.length).toBeGreaterThan(0)
      expect(Object.keys(choice.delta)).toEqual(['content'])
      expect(choice.finish_reason).toBeNull()
    }
  })

  it('C46 streams what it answers at once', async () => {
    for (const body of [{}, { stop: ['e', 'a', 'o'] }, { n: 2 }]) {
      const settings = { max_tokens: 24, ...body }
      const { json: whole } = await api().complete(settings)
      const events = await api().streamCompletion(settings)
      for (const choice of whole.choices) {
        expect(joinText(events, choice.index)).toBe(choice.text)
        expect(choices(events, choice.index).at(-1).finish_reason).toBe(choice.finish_reason)
      }
      const { json: chat } = await api().chat(settings)
      expect(joinText(await api().streamChat(settings))).toBe(chat.choices[0].message.content)
    }
  })

  it('C47 never splits a character between events', async (context) => {
    if (api().target.script === null) return context.skip('needs a scripted answer')
    const said = 'héllo 漢字 🙂🙃 ok'
    const events = await api().streamCompletion({ prompt: `SAY:${said}`, max_tokens: 64 })
    expect(joinText(events)).toBe(said)
    for (const choice of choices(events)) expect(choice.text).not.toContain('\ufffd')
  })

  it('C48 sends usage once, without a choice, before [DONE]', async () => {
    const events = await api().streamChat({ stream_options: { include_usage: true }, ignore_eos: true })
    const chunks = events.slice(0, -1).map((event) => event.data)
    const last = chunks.pop()
    expect(last.choices).toEqual([])
    expect(last.usage).toMatchObject({ completion_tokens: 8 })
    for (const chunk of chunks) expect(chunk.usage).toBeNull()
    const continuous = await api().streamCompletion({
      stream_options: { include_usage: true, continuous_usage_stats: true },
      ignore_eos: true,
    })
    const counts = continuous.slice(0, -1).map((event) => event.data.usage.completion_tokens)
    expect(counts.slice(-2)).toEqual([8, 8])
    expect(counts).toEqual([...counts].sort((a, b) => a - b))
  })

  it('C49 sends no usage unless asked', async () => {
    for (const stream_options of [{ include_usage: false }, undefined, {}, null]) {
      const events = await api().streamCompletion({ stream_options })
      for (const { data } of events) expect(data === '[DONE]' || !('usage' in data)).toBe(true)
    }
  })

  it('C50 refuses stream_options without stream', async () => {
    expectError(await api().complete({ stream_options: { include_usage: true } }), 400)
    expectError(await api().chat({ stream: false, stream_options: {} }), 400)
    expectError(await api().complete({ stream: true, stream_options: { include_usage: 'yes' } }), 400)
  })

  it('C51 sums usage over n choices, each with one reason', async () => {
    const events = await api().streamChat({ n: 2, stream_options: { include_usage: true }, ignore_eos: true })
    for (const index of [0, 1]) {
      const own = choices(events, index)
      expect(own[0].delta.role).toBe('assistant')
      expect(own.filter((choice) => choice.finish_reason !== null)).toHaveLength(1)
    }
    expect(events.at(-2)?.data.usage.completion_tokens).toBe(16)
  })

  it('C52 refuses a bad streaming request as JSON, not as events', async () => {
    expectError(await api().chat({ stream: true, temperature: 9 }), 400)
    expectError(await api().chat({ stream: 'yes' }), 400)
  })

  it('C53 ends a stream with an error event when the engine fails, without a finish reason', async (context) => {
    if (api().target.script === null) return context.skip('engine-process.test.ts breaks the real engine')
    const target = await start({ stepMs: 5 })
    try {
      const { kill } = target.script!
      setTimeout(kill, 60)
      const events = await new Api(target).streamCompletion({ max_tokens: 400 })
      expect(events.at(-1)?.data).toBe('[DONE]')
      expect(events.at(-2)?.data.error).toMatchObject({ type: 'server_error', code: 'engine_error' })
      for (const choice of choices(events)) expect(choice.finish_reason).toBeNull()
      expect((await new Api(target).get('/health')).status).toBe(503)
      expectError(await new Api(target).complete({}), 503, 'engine_dead')
    } finally {
      await target.close()
    }
  })

  it('C54 sends a comment only after the idle time', async (context) => {
    if (api().target.script === null) return context.skip('needs an engine that can be paused')
    const target = await start({ pingSecs: 0.05, stepMs: 1 })
    try {
      const { pause, resume } = target.script!
      const busy = await new Api(target).streamCompletion({ max_tokens: 8 })
      expect(busy.some((event) => event.comment !== null)).toBe(false)
      pause()
      setTimeout(resume, 300)
      const idle = await new Api(target).streamCompletion({ max_tokens: 8 })
      expect(idle.filter((event) => event.comment === 'ping').length).toBeGreaterThanOrEqual(2)
      expect(joinText(idle)).toBe(joinText(busy))
    } finally {
      await target.close()
    }
  })

  it('C55 gives a slow reader every byte', async () => {
    const body = JSON.stringify({ prompt: 'slow', max_tokens: 64, temperature: 0, ignore_eos: true, stream: true })
    const request =
      `POST /v1/completions HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
    const text = await readSlowly(api().target.port, request)
    const events = parseEvents(text.slice(text.indexOf('\r\n\r\n') + 4))
    expect(events.at(-1)?.data).toBe('[DONE]')
    const { json }: { json: Json } = await api().complete({ prompt: 'slow', max_tokens: 64, ignore_eos: true })
    expect(joinText(events)).toBe(json.choices[0].text)
  })
}

/** Reads at most 64 bytes at a time, with pauses. */
function readSlowly(port: number, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', onread: { buffer: Buffer.alloc(64), callback: take } })
    let text = ''
    let reads = 0
    function take(bytes: number, buffer: Uint8Array): boolean {
      text += Buffer.from(buffer.subarray(0, bytes)).toString('latin1')
      if (++reads % 20 !== 0) return true
      setTimeout(() => socket.resume(), 5)
      return false
    }
    socket.on('end', () => resolve(Buffer.from(text, 'latin1').toString('utf8')))
    socket.on('error', reject)
    socket.write(request)
  })
}
