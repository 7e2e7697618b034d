import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startEngine, WorkerEngine } from '../../engines/client.js'
import type { EngineClient, EngineInfo, GenerationRequest, StepTraceRecord, TokenOutput } from '../../engines/engine.js'
import type { EngineError } from '../../engines/engine-error.js'
import type { ModelSource } from '../../engines/model/source.js'
import type { EngineOptions } from '../../engines/options.js'
import { StatsBlock } from '../../engines/stats-block.js'
import { OPTIONS } from '../suites/engine-rig.js'
import { makeRequest, mixedRequests, randomPrompt } from '../suites/requests.js'
import { compileEngines } from './compiled.js'

const TINY: ModelSource = { kind: 'preset', id: 'tiny-seed1', preset: 'tiny', seed: 1, notice: null }

/** Submits and resolves with everything the listener heard. */
function generate(engine: EngineClient, request: GenerationRequest): Promise<TokenOutput[]> {
  const outputs: TokenOutput[] = []
  return new Promise((resolve, reject) => {
    const refusal = engine.submit(request, (output) => {
      outputs.push(output)
      if (output.finishReason !== null) resolve(outputs)
    })
    if (refusal !== null) reject(new Error(refusal.message))
  })
}

function last(outputs: TokenOutput[]): TokenOutput {
  return outputs.at(-1)!
}

describe('an engine in its worker thread', () => {
  const open: EngineClient[] = []
  const start = async (overrides: Partial<EngineOptions> = {}) => {
    const lines: string[] = []
    const options = { ...OPTIONS, dtype: 'bf16' as const, ...overrides }
    const engine = await startEngine(options, TINY, (line) => lines.push(line))
    open.push(engine)
    return { engine, lines }
  }
  beforeAll(compileEngines)
  afterEach(async () => {
    for (const engine of open.splice(0)) await engine.close()
  })

  it.each(['paged', 'static'] as const)(
    '%s: serves many at once, says what it is, and closes cleanly',
    async (kind) => {
      const { engine, lines } = await start({ engine: kind })
      expect(engine.info).toMatchObject({
        kind,
        modelId: 'tiny-seed1',
        weights: 'random (seed 1)',
        dtype: 'bf16',
        backend: 'cpu',
      })
      expect(lines.some((line) => line.includes('loading tiny-seed1'))).toBe(true)
      const requests = mixedRequests(40)
      const generated = Promise.all(requests.map((request) => generate(engine, request)))
      expect(
        engine.stats().integrity,
      ).toBeNull() /* what a check said of the time before does not stand for this work */
      const all = await generated
      all.forEach((outputs, i) => {
        expect(outputs.flatMap((output) => output.tokenIds)).toHaveLength(requests[i]!.maxTokens)
        expect(outputs.map((output) => output.finishReason)).toEqual([
          ...Array(outputs.length - 1).fill(null),
          'length',
        ])
      })
      await expect.poll(() => engine.stats().integrity).toBe('')
      expect(engine.stats()).toMatchObject({
        running: 0,
        waiting: 0,
        kvBlocksUsed: 0,
        requestsFinished: { length: 40, error: 0 },
      })
      expect(engine.stats().scheduleNsP99).toBeGreaterThan(0)
      await engine.close()
      expect(engine.health().state).toBe('draining')
    },
  )

  it('sleeps when there is nothing to do', async () => {
    const { engine } = await start()
    await generate(engine, makeRequest('a', randomPrompt(4, 1), 2))
    await new Promise((resolve) => setTimeout(resolve, 100))
    const before = process.cpuUsage()
    await new Promise((resolve) => setTimeout(resolve, 500))
    const { user, system } = process.cpuUsage(before)
    expect((user + system) / 1000).toBeLessThan(150)
  })

  it('delivers log-probabilities with their tokens', async () => {
    const { engine } = await start()
    const [with2, without] = await Promise.all([
      generate(engine, makeRequest('a', randomPrompt(8, 1), 4, { topLogprobs: 2 })),
      generate(engine, makeRequest('b', randomPrompt(8, 2), 4)),
    ])
    for (const { logprobs, tokenIds } of with2) expect(logprobs![0]!.topTokenIds[0]).toBe(tokenIds[0])
    for (const { logprobs } of without) expect(logprobs).toBeNull()
  })

  it('ends an aborted request once, within a step, and ignores ids it does not know', async () => {
    const { engine } = await start()
    const outputs: TokenOutput[] = []
    const ended = new Promise<void>((resolve) => {
      engine.submit(makeRequest('long', randomPrompt(8, 1), 240), (output) => {
        outputs.push(output)
        if (outputs.length === 3) engine.abort('long')
        if (output.finishReason !== null) resolve()
      })
    })
    engine.abort('nobody')
    await ended
    expect(last(outputs)).toMatchObject({ finishReason: 'abort', tokenIds: [] })
    expect(outputs.length).toBeLessThan(240)
    await expect.poll(() => engine.stats().kvBlocksUsed).toBe(0)
    expect(engine.stats().requestsFinished.abort).toBe(1)
  })

  it('refuses at once what can never run', async () => {
    const { engine } = await start({ kvCacheBytes: 8 * 16 * 2048 })
    const never = () => expect.unreachable('a refused request has no outputs')
    expect(engine.submit(makeRequest('a', randomPrompt(250, 1), 7), never)?.code).toBe('context_length_exceeded')
    expect(engine.submit(makeRequest('b', randomPrompt(120, 1), 10), never)?.code).toBe('kv_capacity_exceeded')
    await expect(generate(engine, makeRequest('c', randomPrompt(120, 1), 9))).resolves.toHaveLength(9)
  })

  it('gathers a static batch for as long as it was told', async () => {
    const { engine } = await start({ engine: 'static', staticMaxWaitMs: 300 })
    const before = process.hrtime.bigint()
    const arrivalNs = Number(before)
    await generate(engine, makeRequest('a', randomPrompt(4, 1), 1, { arrivalNs }))
    expect(Number(process.hrtime.bigint() - before) / 1e6).toBeGreaterThan(295)
  })

  it('drains: what runs ends, what comes later is turned away, the deadline cuts off the rest', async () => {
    const { engine } = await start()
    const runs = generate(engine, makeRequest('runs', randomPrompt(4, 1), 30))
    const drained = engine.drain(60_000)
    const late = await generate(engine, makeRequest('late', randomPrompt(4, 1), 3))
    expect(last(late)).toMatchObject({ finishReason: 'error', error: 'the engine is shutting down' })
    await drained
    expect(last(await runs).finishReason).toBe('length')
  })

  it('cuts off at the drain deadline', async () => {
    const { engine } = await start({ threads: 1 })
    const runs = generate(engine, makeRequest('runs', randomPrompt(4, 1), 250))
    await engine.drain(0)
    expect(['abort', 'length']).toContain(last(await runs).finishReason)
  })

  it('ends every request with an error when the device fails, and is dead', async () => {
    const { engine } = await start({ fault: 'launch:400' })
    const began = performance.now()
    const all = await Promise.all(
      Array.from({ length: 12 }, (_, i) => generate(engine, makeRequest(`r${i}`, randomPrompt(30, i), 200))),
    )
    expect(performance.now() - began).toBeLessThan(10_000)
    for (const outputs of all)
      expect(last(outputs)).toMatchObject({ finishReason: 'error', error: expect.stringContaining('injected') })
    expect(engine.health()).toMatchObject({ state: 'dead', detail: expect.stringContaining('KN_LAUNCH_FAILED') })
    const after = await generate(engine, makeRequest('after', randomPrompt(4, 1), 3))
    expect(last(after)).toMatchObject({ finishReason: 'error', error: expect.stringContaining('dead') })
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 0 })
  })

  it.each([
    ['alloc:12', {}, 'device-memory-short'],
    ['', { maxModelLen: 100_000 }, 'context-too-long'],
    ['', { kvCacheBytes: 10 }, 'kv-memory-short'],
    ['', { blockSize: 24 }, 'options-conflict'],
    ['', { maxNumSeqs: 128 }, 'options-conflict'],
    ['', { enableChunkedPrefill: false }, 'options-conflict'],
  ])('says why it cannot start: fault "%s", %o', async (fault, overrides, code) => {
    await expect(start({ fault, ...overrides })).rejects.toMatchObject({ name: 'EngineError', code })
  })

  it.skipIf(existsSync('/dev/nvidia0'))('says that there is no GPU when CUDA is asked for', async () => {
    const error = await start({ backend: 'cuda' }).catch((reason: EngineError) => reason)
    expect(['kernels-missing', 'device-failed']).toContain((error as EngineError).code)
  })

  it.each([
    ['crashes', "throw new Error('a bug')", 'a bug'],
    ['exits without a word', 'process.exit(5)', 'code 5'],
  ])('ends every request when its thread %s', async (_, script, detail) => {
    const worker = new Worker(`require('node:worker_threads').parentPort.once('message', () => { ${script} })`, {
      eval: true,
    })
    const info = { maxModelLen: 256, kind: 'paged', kvBlocksTotal: 16, blockSize: 16 } as EngineInfo
    const engine = new WorkerEngine(worker, info, new StatsBlock(), new Int32Array(new SharedArrayBuffer(4)))
    const outputs = await Promise.all([1, 2].map((i) => generate(engine, makeRequest(`r${i}`, randomPrompt(4, i), 3))))
    for (const list of outputs)
      expect(list).toMatchObject([{ finishReason: 'error', error: expect.stringContaining(detail) }])
    expect(engine.health().state).toBe('dead')
    await engine.close()
  })

  it('takes no word of an idle moment for the work that came meanwhile, and keeps a finding', async () => {
    const told = (finding: string) => `port.postMessage({ kind: 'integrity', finding: '${finding}' })`
    const script = `const port = require('node:worker_threads').parentPort
      port.on('message', (command) => {
        if (command.kind === 'close') return process.exit()
        ${told('')}
        const ints = Int32Array.of(command.handle, 7, 2, -1, 0, 0)
        setTimeout(() => {
          port.postMessage({ kind: 'outputs', ints, logprobs: [] })
          ${told('')}
          if (command.handle === 1) ${told('a block is lost')}
          ${told('')}
        }, 50)
      })`
    const info = { maxModelLen: 256, kind: 'paged', kvBlocksTotal: 16, blockSize: 16 } as EngineInfo
    const worker = new Worker(script, { eval: true })
    const engine = new WorkerEngine(worker, info, new StatsBlock(), new Int32Array(new SharedArrayBuffer(4)))
    const during: (string | null)[] = []
    const say = () => during.push(engine.stats().integrity)
    worker.on('message', ({ kind }) => kind === 'integrity' && say())
    await generate(engine, makeRequest('r0', randomPrompt(4, 0), 1))
    await expect.poll(() => during).toEqual([null, '', ''])
    await generate(engine, makeRequest('r1', randomPrompt(4, 1), 1))
    const found = 'a block is lost'
    await expect.poll(() => during).toEqual([null, '', '', null, '', found, found])
    await generate(engine, makeRequest('r2', randomPrompt(4, 2), 1))
    await expect.poll(() => during.slice(7)).toEqual([found, found, found])
    await engine.close()
  })

  it('writes a step trace that accounts for every token', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'step-trace-'))
    const stepTrace = join(folder, 'steps.jsonl')
    const { engine } = await start({ stepTrace })
    const requests = mixedRequests(30)
    await Promise.all(requests.map((request) => generate(engine, request)))
    await engine.close()
    const records = readFileSync(stepTrace, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as StepTraceRecord)
    rmSync(folder, { recursive: true })
    const steps = records.filter((record) => record.kind === 'step')
    const generated = requests.reduce((sum, { maxTokens }) => sum + maxTokens, 0)
    expect(steps.reduce((sum, { decodeTokens }) => sum + decodeTokens, 0)).toBe(generated - requests.length)
    expect(steps.map(({ n }) => n)).toEqual(steps.map((_, i) => i + 1))
    expect(records.filter((record) => record.kind === 'request')).toHaveLength(30)
    const nowNs = Number(process.hrtime.bigint())
    for (const { tNs, durationNs } of steps)
      expect(tNs + durationNs > nowNs - 60e9 && tNs + durationNs < nowNs).toBe(true)
  })
})
