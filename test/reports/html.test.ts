import { createHash } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { renderHtml } from '../../reports/html.js'
import { fixture } from './fixture.js'

const inner = (page: string, open: RegExp): string => {
  const start = open.exec(page)!
  const from = start.index + start[0].length
  return page.slice(from, page.indexOf('</script>', from))
}

describe('the page', () => {
  test('allows nothing but its own script, by hash, and names no other host', async () => {
    const page = await renderHtml(fixture())
    const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page)![1]!
    const script = inner(page, /<script>/)
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain(`script-src 'sha256-${createHash('sha256').update(script).digest('base64')}'`)
    expect(policy).not.toMatch(/unsafe-eval|https?:|blob:|\*/)
    const markup = page.replace(script, '')
    expect(markup).not.toMatch(/(?:src|href)="(?!#|data:,")[^"]*"/)
    expect(markup.match(/<script/g)).toHaveLength(4)
  })

  test('states what was measured, on what, and how a figure is defined', async () => {
    const page = await renderHtml(fixture({ gpu: true }))
    for (const text of ['NVIDIA H100', 'random (seed 1), bf16', 'lognormal mean 241', 'bench run --concurrency 16'])
      expect(page.includes(text), text).toBe(true)
    expect(page.includes('any kernel active')).toBe(true)
    expect(page.includes('t_min = (T / b)')).toBe(true)
    expect(/Computed tokens that were wasted: static \d+\.\d%/.test(page)).toBe(true)
  })

  test('says where TTFT went, what the client adds, and what other tools would print', async () => {
    const input = fixture({ blocksPerTarget: 1 })
    const split = { clientLagMs: 0.125, sendMs: 0.25, queueMs: 40, prefillMs: 7, flushMs: 0.5 }
    const stats = { mean: 1, p50: 123.5, p99: 3 }
    const how = { ttft: 'a', tpot: 'b', itl: 'c', throughput: 'd' }
    const rates = { outputTokensPerSecond: 77, requestsPerSecond: 1, how }
    const block = input.summary.blocks[0]!
    const none = { clientLagMs: null, sendMs: null, queueMs: 39, prefillMs: null, flushMs: null, totalMs: null }
    input.summary.targets[0]!.ttftSplit = { n: 64, mean: split, p50: none, p90: none, p99: none }
    block.otherTools = [{ tool: 'guidellm', ttftMs: stats, tpotMs: null, itlMs: stats, e2eMs: stats, ...rates }]
    const page = await renderHtml(input)
    expect(page).toContain('Where TTFT goes')
    expect(page).toContain('47.9')
    expect(page).toContain('The client adds 0.21')
    expect(page).toContain('guidellm')
    expect(page).toContain('124 / 3')
  })

  test('tells the engine’s own time per step where there is a trace', async () => {
    const page = await renderHtml(fixture())
    expect(page).toContain('The engine’s own time per step')
    expect(page).toContain('9,400 / –')
    expect(await renderHtml(fixture({ steps: false }))).not.toContain('own time per step')
  })

  test('is at most 1 MB for the typical run, 3 MB with every token', async () => {
    expect((await renderHtml(fixture())).length).toBeLessThan(1e6)
    const everything = fixture({ requests: 600, concurrency: 32 })
    const page = await renderHtml(everything, { data: 'tokens', includeText: false })
    expect(page.length).toBeLessThan(3e6)
  })

  test('carries the raw requests, without prompts and answers unless asked', async () => {
    const input = fixture({ requests: 24, blocksPerTarget: 1 })
    for (const record of input.run.blocks[0]!.records)
      Object.assign(record, { text: 'a private answer', tokenIds: [1, 2] })
    const unpack = (page: string) => gunzipSync(Buffer.from(inner(page, /id="requests">/), 'base64')).toString()
    const requests = unpack(await renderHtml(input, { data: 'requests', includeText: false }))
    const rows = requests
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(rows).toHaveLength(48)
    expect(rows[0]).toMatchObject({ block: 0, target: 'static', text: null, tokenIds: null, readNs: [] })
    const whole = unpack(await renderHtml(input, { data: 'tokens', includeText: true }))
    expect(whole).toContain('a private answer')
    expect(JSON.parse(whole.split('\n')[0]!).readNs).toEqual(input.run.blocks[0]!.records[0]!.readNs)
    expect(await renderHtml(input, { data: 'summary', includeText: true })).not.toContain('id="requests"')
  })

  test('is the same for the same run, byte for byte', async () => {
    const [first, second] = [await renderHtml(fixture()), await renderHtml(fixture())]
    expect(first === second).toBe(true)
  })

  test('marks a partial run, with reason and fix', async () => {
    const page = await renderHtml(fixture({ status: 'partial', failures: 'some' }))
    expect(page.includes('>PARTIAL<')).toBe(true)
    expect(/interrupted: .*<small>Fix: run again to the end/.test(page)).toBe(true)
    expect(page.includes('HTTP 503: the engine is overloaded')).toBe(true)
    expect(page.includes('the last line is torn')).toBe(true)
  })

  test('prints no number that does not exist', async () => {
    for (const change of [
      { failures: 'all' as const },
      { targets: ['external' as const], blocksPerTarget: 1, steps: false },
    ]) {
      const page = await renderHtml(fixture(change))
      const visible = page.slice(page.indexOf('<main>'), page.indexOf('</main>')).replace(/<[^>]*>/g, ' ')
      expect(visible.match(/.{20}\b(?:NaN|undefined|null|Infinity)\b.{20}/)?.[0]).toBeUndefined()
    }
  })
})
