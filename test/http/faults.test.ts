import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { Api, expectError, type Json, joinText, parseEvents } from './conformance/api.js'
import type { Target } from './conformance/target.js'
import { MODEL, type ScriptedServer, startScripted } from './scripted-server.js'

let server: ScriptedServer
const api = () => new Api({ url: server.url, port: server.port, model: MODEL } as Target)
afterEach(() => server.close())

/** Every sequence ended, and every request read from a socket stands in the ledger. */
async function expectLedger(): Promise<void> {
  await until(() => server.engine.stats().running === 0 && server.server.context.inFlight === 0)
  const { text } = await api().get('/metrics')
  const accepted = Number(/requests_accepted_total\{[^}]*\} (\d+)/.exec(text)?.[1])
  const outcomes = [...text.matchAll(/:requests_total\{[^}]*\} (\d+)/g)].map((match) => Number(match[1]))
  expect(outcomes.reduce((sum, count) => sum + count, 0)).toBe(accepted)
  expect(server.errors).toEqual([])
  expect((await api().complete({ ignore_eos: true })).json.usage.completion_tokens).toBe(8)
}

function request(body: object): string {
  const json = JSON.stringify({ prompt: 'The fox', temperature: 0, ignore_eos: true, max_tokens: 400, ...body })
  return (
    'POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n' +
    `Content-Length: ${Buffer.byteLength(json)}\r\n\r\n${json}`
  )
}

function open(bytes: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, '127.0.0.1', () => {
      socket.write(bytes)
      resolve(socket)
    })
    socket.on('error', reject)
  })
}

async function until(condition: () => boolean, limitMs = 3000): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('condition not reached in time')
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

describe('a client that hangs up', () => {
  it('before, between and after header and body leaves nothing behind', async () => {
    server = await startScripted({}, { stepMs: 1 })
    const whole = request({ stream: true })
    const bodyAt = whole.indexOf('\r\n\r\n') + 4
    for (const length of [0, 10, bodyAt - 2, bodyAt, bodyAt + 5, whole.length - 1]) {
      const socket = await open(whole.slice(0, length))
      await new Promise((resolve) => setTimeout(resolve, 5))
      socket.destroy()
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(server.engine.seen).toHaveLength(0)
    await expectLedger()
  })

  it('while queued, streaming or waiting for the whole answer frees its sequences at once', async () => {
    server = await startScripted({}, { stepMs: 2 })
    for (const body of [{ stream: true }, { stream: false }, { stream: true, n: 3 }, { prompt: ['a', 'b'] }]) {
      const before = server.engine.aborted.length
      const socket = await open(request(body))
      const wanted = 'n' in body ? 3 : 'prompt' in body ? 2 : 1
      await until(() => server.engine.stats().running === wanted)
      socket.destroy()
      await until(() => server.engine.stats().running === 0)
      expect(server.engine.aborted.length - before).toBe(wanted)
    }
    await expectLedger()
  })

  it('at a random token, 200 times, changes nothing for its neighbours', async () => {
    server = await startScripted({}, { stepMs: 1, maxModelLen: 4096 })
    const alone = (await api().complete({ prompt: 'neighbour', max_tokens: 600, ignore_eos: true })).json
    const neighbour = api().streamCompletion({ prompt: 'neighbour', max_tokens: 600, ignore_eos: true })
    for (let round = 0; round < 10; round++) {
      const sockets = await Promise.all(Array.from({ length: 20 }, () => open(request({ stream: true }))))
      await Promise.all(
        sockets.map(async (socket) => {
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 30))
          socket.destroy()
        }),
      )
    }
    expect(joinText(await neighbour)).toBe(alone.choices[0].text)
    await expectLedger()
  })
})

describe('a client that does not read', () => {
  it('is cut off when its stream leaves too much unread, and its sequence freed', async () => {
    server = await startScripted({ maxBufferedBytes: 64 * 1024 }, { maxModelLen: 200_000 })
    const socket = await open(request({ stream: true, max_tokens: 150_000, return_token_ids: true, logprobs: 20 }))
    socket.pause()
    await until(() => server.engine.aborted.length === 1, 20_000)
    socket.destroy()
    await expectLedger()
  })

  it('cannot hold its connection with the end of an answer', async () => {
    server = await startScripted({ drainTimeoutMs: 200, maxBufferedBytes: 64 * 2 ** 20 }, { maxModelLen: 60_000 })
    const socket = await open(request({ stream: true, max_tokens: 50_000 }))
    socket.pause()
    await until(() => server.server.context.inFlight === 0 && server.engine.seen.length === 1, 20_000)
    socket.on('error', () => {})
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    setTimeout(() => socket.resume(), 600)
    await closed
    await expectLedger()
  })
})

describe('a client that sends too slowly', () => {
  it('is told 408 in its header, and cut off in its body', async () => {
    server = await startScripted({ headersTimeoutMs: 150, requestTimeoutMs: 300 })
    const whole = request({})
    for (const length of [20, whole.length - 4]) {
      const answer = await api().raw(whole.slice(0, length), 4000)
      expect(answer === '' || answer.startsWith('HTTP/1.1 408 ')).toBe(true)
      if (length === 20) expect(answer).toContain('"code":"request_timeout"')
    }
    await expectLedger()
  })
})

describe('an engine that fails', () => {
  it('for one sequence: the request gets an error event, its neighbour its answer', async () => {
    server = await startScripted({}, { stepMs: 3 })
    const failing = api().streamCompletion({ max_tokens: 100 })
    await until(() => server.engine.stats().running === 1)
    server.engine.failNext()
    const neighbour = api().complete({ prompt: 'other', max_tokens: 20, ignore_eos: true })
    const events = await failing
    expect(events.at(-2)?.data.error.code).toBe('engine_error')
    expect((await neighbour).status).toBe(200)
    await expectLedger()
  })

  it('with requests waiting for whole answers: each is a 500 within a second', async () => {
    server = await startScripted({}, { stepMs: 20 })
    const waiting = Array.from({ length: 8 }, () => api().complete({ max_tokens: 400 }))
    await until(() => server.engine.stats().running === 8)
    const died = performance.now()
    server.engine.kill('scripted')
    for (const answer of await Promise.all(waiting)) expectError(answer, 500, 'engine_error')
    expect(performance.now() - died).toBeLessThan(1000)
    expectError(await api().get('/health'), 503, 'engine_dead')
  })

  it('by standing still: /health turns to 503 and back', async () => {
    server = await startScripted({ stallTimeoutMs: 100 })
    server.engine.paused = true
    const answer = api().complete({})
    await new Promise((resolve) => setTimeout(resolve, 300))
    expectError(await api().get('/health'), 503, 'engine_stalled')
    server.engine.resume()
    expect((await answer).status).toBe(200)
    await until(() => server.engine.stats().running === 0)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect((await api().get('/health')).status).toBe(200)
  })
})

describe('too much work', () => {
  it('is refused with 429 and Retry-After, and taken again later', async () => {
    server = await startScripted({ maxQueue: 4 }, { stepMs: 2 })
    const running = Array.from({ length: 4 }, () => api().complete({ max_tokens: 60, ignore_eos: true }))
    await until(() => server.server.context.inFlight === 4)
    const refused = await api().complete({})
    expectError(refused, 429, 'queue_full')
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/)
    for (const answer of await Promise.all(running)) expect(answer.status).toBe(200)
    expectError(await api().complete({ n: 5 }), 400)
    await expectLedger()
  })

  it('as 1,000 streams at once loses none', async () => {
    server = await startScripted({}, { stepMs: 1 })
    const body = { stream: true, max_tokens: 20, ignore_eos: true }
    const answers = await Promise.all(Array.from({ length: 1000 }, () => api().complete(body)))
    const [{ text: first }] = answers
    const anonymous = (text: string) => text.replace(/cmpl-[0-9a-f-]+/g, '').replace(/"created":\d+/g, '')
    expect(parseEvents(first).at(-1)?.data).toBe('[DONE]')
    expect(new Set(answers.map(({ text }) => anonymous(text))).size).toBe(1)
    await expectLedger()
  })
})

describe('a server that drains', () => {
  it('finishes what is under way, refuses what is new, and cuts off the rest at the deadline', async () => {
    server = await startScripted({}, { stepMs: 2 })
    const short = api().complete({ max_tokens: 30, ignore_eos: true })
    const long = api().streamCompletion({ max_tokens: 500, ignore_eos: true })
    await until(() => server.engine.stats().running === 2)
    const drained = server.server.drain(250)
    expectError(await api().complete({}), 503, 'engine_draining')
    expectError(await api().get('/health'), 503, 'engine_draining')
    expect((await short).json.choices[0].finish_reason).toBe('length')
    const events: Json[] = await long
    expect(events.at(-2)?.data.error.code).toBe('engine_draining')
    await drained
    expect(server.engine.stats().running).toBe(0)
  })
})
