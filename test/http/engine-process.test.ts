import { createServer } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { Api, choices, expectError, parseEvents } from './conformance/api.js'
import type { Target } from './conformance/target.js'
import { type EngineProcess, spawnEngine, startEngineProcess } from './engine-process.js'

const TINY = ['--model', 'tiny', '--dtype', 'f32', '--max-model-len', '2048', '--kv-cache-bytes', '40000000']
const running: EngineProcess[] = []
afterEach(async () => {
  for (const engine of running.splice(0)) await engine.stop()
})

async function start(args: string[] = [], env: Record<string, string> = {}): Promise<EngineProcess & { api: Api }> {
  const engine = await startEngineProcess([...TINY, ...args], env)
  running.push(engine)
  return { ...engine, api: new Api({ url: engine.url, port: engine.port, model: engine.model } as Target) }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('an engine process', () => {
  it('ends with exit code 2 at once when its port is in use, before it loads anything', async () => {
    const blocker = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => blocker.once('listening', resolve))
    const { port } = blocker.address() as { port: number }
    const begun = performance.now()
    const { exited, log } = spawnEngine(['--model', 'llama-3-8b', '--port', String(port)])
    expect(await exited).toBe(2)
    expect(log()).toMatch(/cannot bind the port: .*EADDRINUSE/)
    expect(log()).not.toContain('loading')
    // 1 s on a quiet machine.
    expect(performance.now() - begun).toBeLessThan(3000)
    blocker.close()
  })

  it('answers 503 while it loads', async () => {
    const port = await freePort()
    const engine = spawnEngine(['--model', 'smollm2-135m', '--port', String(port)])
    const health = () => fetch(`http://127.0.0.1:${port}/health`).catch(() => null)
    try {
      let answer: Response | null = null
      while (answer === null) {
        await sleep(5)
        answer = await health()
      }
      const body = (await answer.json()) as { error?: { code: string } }
      expect([answer.status, body.error?.code]).toEqual([503, 'engine_loading'])
      engine.child.kill('SIGTERM')
      expect(await engine.exited).toBe(0)
    } finally {
      await engine.stop()
    }
  })

  it('drains on SIGTERM under load: every request ends, new ones are refused, exit code 0', async () => {
    const { api, child, exited } = await start(['--drain-deadline-secs', '50'])
    const answers = Array.from({ length: 12 }, (_, i) =>
      api.complete({ prompt: `request ${i}`, max_tokens: 200, ignore_eos: true, stream: i % 2 === 0 }),
    )
    for (let inFlight = 0; inFlight < 12; ) inFlight = (await api.get('/v1/engine')).json.server.inFlight
    child.kill('SIGTERM')
    for (const [i, { status, text, json }] of (await Promise.all(answers)).entries()) {
      expect(status).toBe(200)
      const last = i % 2 === 0 ? choices(parseEvents(text)).at(-1) : json.choices[0]
      expect(last.finish_reason).toBe('length')
    }
    expect(await exited).toBe(0)
  })

  it('cuts requests off at the drain deadline, and at a second signal', async () => {
    for (const [args, second] of [
      [['--drain-deadline-secs', '0.3'], false],
      [['--drain-deadline-secs', '60'], true],
    ] as const) {
      const { api, child, exited } = await start([...args])
      const long = api.streamCompletion({ max_tokens: 2000, ignore_eos: true })
      await sleep(100)
      const signalled = performance.now()
      child.kill('SIGTERM')
      if (second) setTimeout(() => child.kill('SIGTERM'), 200)
      const events = await long
      expect(events.at(-2)?.data.error.code).toBe('engine_draining')
      expect(await exited).toBe(0)
      expect(performance.now() - signalled).toBeLessThan(5000)
    }
  })

  it('ends with its parent', async () => {
    const { child, exited } = await start(['--exit-with-parent'])
    child.stdin?.end()
    expect(await exited).toBe(0)
  })

  it('whose kernels fail ends its streams with an error, answers 503, then exits with 3', async () => {
    const { api, exited } = await start(['--fault', 'launch:3000', '--grace-secs', '0.7'])
    const begun = performance.now()
    const events = await api.streamCompletion({ max_tokens: 2000, ignore_eos: true })
    expect(events.at(-1)?.data).toBe('[DONE]')
    expect(events.at(-2)?.data.error.code).toBe('engine_error')
    for (const choice of choices(events)) expect(choice.finish_reason).toBeNull()
    expectError(await api.get('/health'), 503, 'engine_dead')
    expectError(await api.complete({}), 503, 'engine_dead')
    expect(await exited).toBe(3)
    expect(performance.now() - begun).toBeLessThan(20_000)
  })

  it('keeps its API key out of everything it prints', async () => {
    const canary = 'sk-canary-58d1'
    const { api, info, log } = await start([], { BENCH_API_KEY: canary })
    const authorization = `Bearer ${canary}`
    const answers = [await api.get('/v1/engine', { authorization }), await api.get('/metrics', { authorization })]
    answers.push(await api.get('/v1/engine', { authorization: `Bearer ${canary}x` }))
    for (const { text } of answers) expect(text).not.toContain(canary)
    expect(JSON.stringify(info) + log()).not.toContain(canary)
  })

  it('frees the blocks of 200 clients that hang up at random, and stays sound', async () => {
    const { api, port } = await start(['--max-num-seqs', '16'])
    const body = JSON.stringify({ prompt: 'gone soon', max_tokens: 500, ignore_eos: true, stream: true })
    for (let round = 0; round < 5; round++) {
      const controllers = Array.from({ length: 40 }, () => new AbortController())
      await Promise.all(
        controllers.map(async (controller) => {
          setTimeout(() => controller.abort(), Math.random() * 150)
          const { signal } = controller
          const headers = { 'content-type': 'application/json' }
          const url = `http://127.0.0.1:${port}/v1/completions`
          await fetch(url, { method: 'POST', body, headers, signal }).then(
            (response) => response.text().catch(() => ''),
            () => '',
          )
        }),
      )
    }
    let stats = { running: 1, waiting: 1, kvBlocksUsed: 1, integrity: null as string | null }
    for (let i = 0; i < 100 && (stats.running + stats.waiting > 0 || stats.integrity === null); i++) {
      await sleep(20)
      stats = (await api.get('/v1/engine')).json.stats
    }
    expect(stats).toMatchObject({ running: 0, waiting: 0, kvBlocksUsed: 0, integrity: '' })
    expect((await api.complete({ ignore_eos: true })).json.usage.completion_tokens).toBe(8)
  })
})
