import { createServer, type RequestListener, type Server } from 'node:http'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { recordCeiling } from '../../src/cli/run-ceiling.js'
import { betweenReadings } from '../../src/cli/run-server-metrics.js'
import { readJsonLines } from '../../src/result/lines.js'
import type { ServerScrape } from '../../src/result/server-view.js'
import { createRun } from '../../src/result/store.js'
import { readMetrics } from '../../src/target/metrics-page.js'
import type { RunningTarget } from '../../src/target.js'
import { compileSources } from '../load/compiled.js'
import { manifest, temporaryFolder } from '../result/builders.js'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

/** A scripted server; gives its base URL with /v1. */
async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as { port: number }).port}/v1`
}

const target = (baseUrl: string, kind: 'external' | 'builtin' = 'external') =>
  ({ baseUrl, info: { name: 'theirs', kind, model: 'm' } }) as RunningTarget

const stored = (folder: string) =>
  readJsonLines(join(folder, 'server-metrics.jsonl'), (value): value is ServerScrape => value !== undefined).rows

describe('a server’s own /metrics around a block', () => {
  it('is read before the load and after it, at the server’s root, with the key, and stored as it came', async () => {
    const seen: string[] = []
    let asked = 0
    const baseUrl = await serve((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization}`)
      response.end(`vllm:x_total ${++asked}\n`)
    })
    const folder = temporaryFolder()
    const result = await betweenReadings(target(baseUrl), 'key', folder, async () => {
      expect(asked).toBe(1)
      return 'driven'
    })
    expect(result).toBe('driven')
    expect(seen).toEqual(['GET /metrics Bearer key', 'GET /metrics Bearer key'])
    const [before, after] = stored(folder)
    expect(before).toMatchObject({ when: 'before', httpStatus: 200, text: 'vllm:x_total 1\n', reason: null })
    expect(after).toMatchObject({ when: 'after', text: 'vllm:x_total 2\n' })
    expect(after!.tNs).toBeGreaterThan(before!.tEndNs)
  })

  it('is not asked of a built-in engine, whose trace tells more', async () => {
    const folder = temporaryFolder()
    expect(await betweenReadings(target('http://127.0.0.1:1/v1', 'builtin'), null, folder, async () => 1)).toBe(1)
    expect(stored(folder)).toEqual([])
  })

  it('a load that throws throws, and the first reading stays', async () => {
    const baseUrl = await serve((_request, response) => response.end('x 1\n'))
    const folder = temporaryFolder()
    const failing = betweenReadings(target(baseUrl), null, folder, () => Promise.reject(new Error('disk')))
    await expect(failing).rejects.toThrow('disk')
    expect(stored(folder).map((scrape) => scrape.when)).toEqual(['before'])
  })

  it.each<[string, RequestListener, string]>([
    [
      '404',
      (_q, response) => response.writeHead(404).end('no'),
      'HTTP 404: the server shows no metrics (llama.cpp: --metrics',
    ],
    ['a redirect', (_q, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(), 'HTTP 302'],
    ['an endless text', (_q, response) => void response.write(Buffer.alloc(9 << 20, 'x')), 'more than 8388608 bytes'],
  ])('%s is a reason, not an error', async (_name, answer, reason) => {
    const scrape = await readMetrics(await serve(answer), null, 'before')
    expect(scrape.text).toBeNull()
    expect(scrape.reason).toContain(reason)
  })

  it('nobody there is a reason too', async () => {
    const scrape = await readMetrics('http://127.0.0.1:1/v1', null, 'before')
    expect(scrape).toMatchObject({ text: null, httpStatus: null, reason: expect.stringContaining('ECONNREFUSED') })
  })
})

describe('--request-ceiling', () => {
  it('is measured once a target, the null server’s first, and stored in the manifest; not at all unless asked', async () => {
    await compileSources()
    const bodies: string[] = []
    const baseUrl = await serve((request, response) => {
      let body = ''
      request.on('data', (part) => {
        body += part
      })
      request.on('end', () => {
        bodies.push(`${request.url} ${body}`)
        response.setHeader('content-type', 'application/json').end('{}')
      })
    })
    const run = createRun(join(temporaryFolder(), 'run'), manifest())
    await recordCeiling(run, target(baseUrl), null, { connections: 2, durationSecs: null })
    expect(run.manifest.requestCeilings).toBeUndefined()
    for (let block = 0; block < 2; block++)
      await recordCeiling(run, target(baseUrl), null, { connections: 2, durationSecs: 1 })
    const ceilings = run.manifest.requestCeilings!
    expect(ceilings.map((one) => one.target)).toEqual([null, 'theirs'])
    for (const one of ceilings) {
      expect(one).toMatchObject({ connections: 2, durationSecs: 1, failures: 0 })
      expect(one.requestsPerSecond).toBeGreaterThan(20)
    }
    expect(bodies[0]).toMatch(/^\/v1\/completions .*"max_tokens":1/)
  })
})
