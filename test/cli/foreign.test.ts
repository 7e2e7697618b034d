import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { compatCommand } from '../../src/cli/compat.js'
import { importCommand } from '../../src/cli/import.js'
import { readRun } from '../../src/result/read.js'
import { createRun } from '../../src/result/store.js'
import { loadScenario } from '../../src/scenario/load.js'
import { fixture } from '../reports/fixture.js'
import { temporaryFolder } from '../result/builders.js'

const load = fileURLToPath(new URL('../fixtures/load/', import.meta.url))
let folder: string
let run: string
let printed: string
beforeEach(() => {
  folder = temporaryFolder()
  run = join(folder, 'run')
  storeRun()
  printed = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += text
    return true
  })
  vi.spyOn(process.stderr, 'write').mockImplementation(() => true)
})
afterEach(() => vi.restoreAllMocks())

/** A simulated run of one block a target, stored as a real one is. */
function storeRun(): void {
  const scenario = loadScenario({ source: 'chat-cpu', overrides: { concurrency: 16 } })
  const { manifest, blocks, plan } = fixture({ blocksPerTarget: 1, requests: 48 }).run
  const writer = createRun(run, {
    ...manifest,
    scenario: scenario as unknown as Record<string, unknown>,
    blocks: [],
    status: 'running',
  })
  writer.writePlan(plan)
  for (const { manifest: one, records, health } of blocks) {
    const block = writer.openBlock(one)
    for (const record of records) block.writeRecord(record)
    block.writeHealth(health)
    block.end('complete', one, null)
  }
  writer.finish()
}

/** As aiperf leaves them in its folder. */
function aiperfFolder(): string {
  const artifacts = join(folder, 'artifacts')
  mkdirSync(artifacts)
  cpSync(join(load, 'aiperf-0.13.0.json'), join(artifacts, 'profile_export_aiperf.json'))
  cpSync(join(load, 'aiperf-0.13.0.jsonl'), join(artifacts, 'profile_export.jsonl'))
  return join(artifacts, 'profile_export_aiperf.json')
}

describe('bench compat', () => {
  test('prints every figure as each tool would, with the meaning of its names', () => {
    compatCommand(run, {})
    expect(printed).toMatch(/vllm bench serve.*guidellm.*aiperf/)
    for (const row of ['TTFT mean', 'TPOT p90', 'ITL p99', 'e2e p50', 'output tok/s', 'total tok/s'])
      expect(printed, row).toContain(row)
    expect(printed).toContain('aiperf: TTFT first non-empty content')
  })

  test.each([
    ['guidellm-0.8.1.json', 'guidellm 0.8.1, model null-model, 12 requests, 0 failed, 4 at a time', 19],
    ['vllm-0.32.0-detailed.json', 'vllm bench serve, model null-model, 12 requests, 0 failed, 4 at a time', 19],
    ['aiperf', 'aiperf 0.13.0, model null-model, 12 requests, 0 failed, 4 at a time', 15],
  ])('--with %s: sets it beside our column, and checks it from its own events', (name, about, figures) => {
    compatCommand(run, { with: name === 'aiperf' ? aiperfFolder() : join(load, name) })
    expect(printed).toContain(about)
    expect(printed).toContain(`checked: its ${figures} figures follow from its own events, within its rounding`)
    expect(printed).toMatch(/this run, as .* would.*the file says.*from its events/)
  })

  test('--with: a figure that does not follow from the file’s own events is named', () => {
    const value = JSON.parse(readFileSync(join(load, 'vllm-0.32.0-detailed.json'), 'utf8'))
    value.mean_ttft_ms -= 5
    const file = join(folder, 'better.json')
    writeFileSync(file, JSON.stringify(value))
    compatCommand(run, { with: file })
    expect(printed).toMatch(/DOES NOT FOLLOW from its own events: TTFT mean [\d.]+ where its events give [\d.]+\n/)
  })

  test('--with: without events it says that nothing was checked; a file that is not there is named', () => {
    compatCommand(run, { with: join(load, 'vllm-0.32.0.json') })
    expect(printed).toContain('not checked: the file holds no events')
    expect(printed).toContain('note no events: it was saved without --save-detailed')
    expect(() => compatCommand(run, { with: join(folder, 'none.json') })).toThrow(/cannot read .*none\.json/)
  })
})

describe('bench import of another tool’s result', () => {
  test('keeps it with the run, and shows it in the report beside our column of that tool, with dashes for what it does not hold', async () => {
    await importCommand(join(load, 'guidellm-0.8.1.json'), run)
    await importCommand(join(load, 'vllm-0.32.0.json'), run)
    await importCommand(aiperfFolder(), run)
    const { manifest } = readRun(run)
    expect(manifest.imported!.map((one) => [one.tool, one.requestsOk, one.largestDifference === null])).toEqual([
      ['guidellm', 12, false],
      ['vllm bench serve', 12, true],
      ['aiperf', 12, false],
    ])
    expect(manifest.imported!.every((one) => one.disagreeing.length === 0)).toBe(true)
    expect(manifest.targets).toHaveLength(2)
    const page = readFileSync(join(run, 'report.html'), 'utf8')
    expect(page).toContain('Results of other tools, imported')
    expect(page).toContain('vllm bench serve (release not in the file); model null-model; 4 at a time; not checked')
    expect(page).toMatch(/guidellm 0\.8\.1; model null-model; 4 at a time; its figures follow from its own events/)
    const [row] = /<tr><th scope="row">profile_export_aiperf\.json<\/th>.*?<\/tr>/.exec(page)!
    // TPOT is no metric of aiperf.
    expect(row).toContain('<td>–</td>')
    expect(row).toContain(`<td>${manifest.imported![2]!.column.outputTokensPerSecond!.toFixed(0)}</td>`)
    expect(readFileSync(join(run, 'report.md'), 'utf8')).toMatch(/guidellm-0\.8\.1\.json was imported/)
  })

  test('says in the report that a figure does not follow from the file’s own events', async () => {
    const value = JSON.parse(readFileSync(join(load, 'guidellm-0.8.1.json'), 'utf8'))
    value.benchmarks[0].metrics.output_tokens_per_second.successful.mean *= 1.2
    const file = join(folder, 'faster.json')
    writeFileSync(file, JSON.stringify(value))
    await importCommand(file, run)
    expect(readRun(run).manifest.imported![0]).toMatchObject({ disagreeing: ['output tok/s'] })
    expect(readFileSync(join(run, 'report.html'), 'utf8')).toContain(
      'does NOT follow from its own events: output tok/s',
    )
  })

  test('takes a file once, and refuses one that is no result of a known tool, leaving the run as it was', async () => {
    const file = join(load, 'vllm-0.32.0-detailed.json')
    await importCommand(file, run)
    await expect(importCommand(file, run)).rejects.toThrow(/already holds vllm-0\.32\.0-detailed\.json/)
    const wrong = join(folder, 'wrong.json')
    writeFileSync(wrong, '{"schema": "pagedbench/peer@1"}')
    await expect(importCommand(wrong, run)).rejects.toMatchObject({
      code: 'bad-file',
      message: expect.stringMatching(/target/),
    })
    writeFileSync(wrong, '{"throughput": 7}')
    await expect(importCommand(wrong, run)).rejects.toMatchObject({ code: 'bad-result' })
    writeFileSync(wrong, readFileSync(file, 'utf8').slice(0, 900))
    await expect(importCommand(wrong, run)).rejects.toMatchObject({
      code: 'bad-result',
      message: expect.stringMatching(/cut after 900/),
      fix: expect.stringMatching(/whole file/),
    })
    expect(readRun(run).manifest.imported).toHaveLength(1)
  })
})

describe('bench import of a peer’s file', () => {
  const peer = () => {
    const { manifest, blocks } = readRun(run)
    const { records, manifest: block } = blocks[0]!
    const { startNs, endNs, measureStartNs } = block
    const target = { ...manifest.targets[0]!, name: 'transformers', engine: 'transformers' }
    return { schema: 'pagedbench/peer@1', target, startNs, endNs, measureStartNs, records }
  }

  test('makes it a target and a block of the run, once', async () => {
    const file = join(folder, 'peer.json')
    writeFileSync(file, JSON.stringify(peer()))
    await importCommand(file, run)
    const { manifest, blocks } = readRun(run)
    expect(manifest.targets.map((target) => target.name)).toContain('transformers')
    expect(blocks.at(-1)!.records).toHaveLength(blocks[0]!.records.length)
    expect(readFileSync(join(run, 'report.html'), 'utf8')).toContain('transformers was imported from')
    await expect(importCommand(file, run)).rejects.toMatchObject({ code: 'usage' })
  })

  test('refuses one of another plan', async () => {
    const other = peer()
    other.records[0] = { ...other.records[0]!, outputTokens: other.records[0]!.outputTokens + 1 }
    const file = join(folder, 'other.json')
    writeFileSync(file, JSON.stringify(other))
    await expect(importCommand(file, run)).rejects.toMatchObject({ code: 'incomparable' })
  })
})
