import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cachedFromHub, fetchFromHub } from '../../engines/model/hub.js'
import { resolveModel } from '../../engines/model/resolve.js'
import type { ResolveContext } from '../../engines/model/resolve-context.js'
import { HubServer } from './hub-server.js'
import { scratchDirectory } from './model-files.js'

const FIXTURE = new URL('../fixtures/model/llama-scaled/', import.meta.url).pathname
const FILES = {
  'config.json': readFileSync(join(FIXTURE, 'config.json')),
  'generation_config.json': readFileSync(join(FIXTURE, 'generation_config.json')),
  'model.safetensors': readFileSync(join(FIXTURE, 'model.safetensors')),
  'pytorch_model.bin': Buffer.from('pickle'),
  'README.md': Buffer.from('# read me'),
}

describe('a model from the hub', () => {
  let hub: HubServer
  let scratch: ReturnType<typeof scratchDirectory>
  let context: ResolveContext
  let lines: string[]

  beforeEach(async () => {
    hub = await HubServer.start(FILES)
    scratch = scratchDirectory()
    lines = []
    context = {
      cacheDirectory: scratch.path,
      hubUrl: hub.url,
      token: null,
      offline: false,
      connectTimeoutMs: 2_000,
      idleTimeoutMs: 2_000,
      progress: (line) => lines.push(line),
    }
  })
  afterEach(async () => {
    await hub.close()
    scratch.remove()
  })

  it('arrives whole, with what it needs and nothing else', async () => {
    const directory = await fetchFromHub('org/model', context)
    expect(
      readdirSync(directory)
        .filter((name) => !name.startsWith('.'))
        .sort(),
    ).toEqual(['config.json', 'generation_config.json', 'model.safetensors'])
    expect(FILES['model.safetensors'].equals(readFileSync(join(directory, 'model.safetensors')))).toBe(true)
  })

  it('is taken from the cache the second time, without a request', async () => {
    const first = await fetchFromHub('org/model', context)
    const requests = hub.requests
    expect(await fetchFromHub('org/model', { ...context, offline: true })).toBe(first)
    expect(hub.requests).toBe(requests)
  })

  it('is resumed where the connection was cut', async () => {
    hub.faults = { cuts: 2 }
    const directory = await fetchFromHub('org/model', context)
    expect(FILES['model.safetensors'].equals(readFileSync(join(directory, 'model.safetensors')))).toBe(true)
    expect(hub.transfers.filter((range) => range !== '').length).toBeGreaterThanOrEqual(1)
    expect(lines.join('\n')).toContain('resuming at')
  })

  it('is resumed by the next process from what the last one left', async () => {
    const directory = join(scratch.path, 'hf', 'org--model')
    mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, 'model.safetensors.part'), FILES['model.safetensors'].subarray(0, 100_000))
    await fetchFromHub('org/model', context)
    expect(hub.transfers).toContain('bytes=100000-')
    expect(FILES['model.safetensors'].equals(readFileSync(join(directory, 'model.safetensors')))).toBe(true)
  })

  it('begins again where the server knows no ranges', async () => {
    hub.faults = { cuts: 1, withoutRanges: true }
    const directory = await fetchFromHub('org/model', context)
    expect(FILES['model.safetensors'].equals(readFileSync(join(directory, 'model.safetensors')))).toBe(true)
  })

  it('is refused and removed when its bytes are not those published', async () => {
    hub.faults = { corrupt: true }
    await expect(fetchFromHub('org/model', context)).rejects.toMatchObject({ code: 'checksum_mismatch' })
    expect(cachedFromHub('org/model', context)).toBeNull()
    hub.faults = {}
    await expect(fetchFromHub('org/model', context)).resolves.toContain('org--model')
  })

  it.each([
    [{ listStatus: 401 }, 'unauthorized'],
    [{ listStatus: 403 }, 'unauthorized'],
    [{ listStatus: 404 }, 'model_not_found'],
    [{ listStatus: 500 }, 'download_failed'],
    [{ silent: true }, 'download_failed'],
    [{ fileStatus: 401 }, 'unauthorized'],
    [{ fileStatus: 404 }, 'model_not_found'],
    [{ fileStatus: 503 }, 'download_failed'],
    [{ cuts: 100 }, 'download_failed'],
  ])('with %j fails as %s', async (faults, code) => {
    hub.faults = faults
    await expect(fetchFromHub('org/model', { ...context, connectTimeoutMs: 300 })).rejects.toMatchObject({
      name: 'ModelError',
      code,
    })
  })

  it('gets the token, and only with it', async () => {
    hub.faults = { token: 'secret' }
    await expect(fetchFromHub('org/model', context)).rejects.toMatchObject({ code: 'unauthorized' })
    const token = 'hf_secret'
    hub.faults = { token }
    await expect(fetchFromHub('org/model', { ...context, token })).resolves.toContain('org--model')
  })

  it('fails at once when nobody listens', async () => {
    await hub.close()
    await expect(fetchFromHub('org/model', context)).rejects.toMatchObject({ code: 'download_failed' })
    hub = await HubServer.start(FILES)
  })

  it('without safetensors is refused, its pickles named as the reason', async () => {
    await hub.close()
    hub = await HubServer.start({
      'config.json': FILES['config.json'],
      'pytorch_model.bin': FILES['pytorch_model.bin'],
    })
    await expect(fetchFromHub('org/model', { ...context, hubUrl: hub.url })).rejects.toMatchObject({
      code: 'model_not_found',
      fix: expect.stringContaining('pickle'),
    })
  })

  it('with several GGUF files wants one named, and takes the one named', async () => {
    await hub.close()
    hub = await HubServer.start({ 'a.gguf': Buffer.from('GGUF-a'), 'b.gguf': Buffer.from('GGUF-b') })
    const there = { ...context, hubUrl: hub.url }
    await expect(fetchFromHub('org/model', there)).rejects.toMatchObject({
      fix: expect.stringContaining('hf:org/model/a.gguf'),
    })
    const path = await fetchFromHub('org/model/b.gguf', there)
    expect(readFileSync(path, 'utf8')).toBe('GGUF-b')
  })

  it.each(['../x', 'org', 'org/model/../../etc.gguf', 'org/model/file.bin', '/x', 'a/b/c d.gguf'])(
    'named %s is refused before any request',
    async (name) => {
      await expect(fetchFromHub(name, context)).rejects.toMatchObject({ code: 'model_not_found' })
      expect(hub.requests).toBe(0)
    },
  )

  it('fetched by two at once is fetched once', async () => {
    const [one, two] = await Promise.all([fetchFromHub('org/model', context), fetchFromHub('org/model', context)])
    expect(one).toBe(two)
    expect(hub.transfers).toHaveLength(3)
  })

  it('is what --model hf:org/name resolves to', async () => {
    const source = await resolveModel('hf:org/model', 0, context)
    expect(source).toMatchObject({ kind: 'checkpoint', id: 'org/model' })
  })
})
