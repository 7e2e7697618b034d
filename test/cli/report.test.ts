import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { reportCommand } from '../../src/cli/report.js'
import { Failure } from '../../src/failure.js'
import type { Summary } from '../../src/result/schema.js'
import { createRun } from '../../src/result/store.js'
import { loadScenario } from '../../src/scenario/load.js'
import { makePlan } from '../../src/scenario/plan.js'
import { fixture, sweepPoints } from '../reports/fixture.js'
import { temporaryFolder } from '../result/builders.js'

let folder: string
let printed: string
beforeEach(() => {
  folder = join(temporaryFolder(), 'run')
  printed = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += text
    return true
  })
  vi.spyOn(process.stderr, 'write').mockImplementation(() => true)
})
afterEach(() => vi.restoreAllMocks())

/** Stores a simulated run as `bench run` stores a real one: manifest, plan, journals, step traces, telemetry. */
async function storeRun(finish = true): Promise<void> {
  const scenario = loadScenario({ source: 'chat-cpu', overrides: { concurrency: 16 } })
  const plan = await makePlan(scenario, { vocabSize: 32_000 })
  const { run } = fixture({ blocksPerTarget: 2 })
  const stored = {
    ...run.manifest,
    scenario: scenario as unknown as Record<string, unknown>,
    blocks: [],
    status: 'running' as const,
  }
  const writer = createRun(folder, { ...stored, planHash: plan.hash, planRequests: plan.rows.length })
  writer.writePlan(plan.rows)
  for (const { manifest, records, steps, telemetry, health } of run.blocks) {
    const block = writer.openBlock(manifest)
    for (const record of records) block.writeRecord(record)
    for (const sample of telemetry) block.writeTelemetry(sample)
    block.writeSteps(steps)
    block.writeHealth(health)
    if (finish) block.end('complete', manifest, null)
  }
  if (finish) writer.finish()
}

describe('bench report', () => {
  test('computes everything again from the raw records and writes page, Markdown and summary', async () => {
    await storeRun()
    await reportCommand([folder])
    const summary = JSON.parse(readFileSync(join(folder, 'summary.json'), 'utf8')) as Summary
    const [base, head] = summary.targets
    expect(base!.outputTokensPerSecond).toBeGreaterThan(50)
    expect(head!.outputTokensPerSecond! / base!.outputTokensPerSecond!).toBeGreaterThan(1.5)
    expect(summary.comparisons.find((row) => row.metric === 'output tok/s')!.ratioLow).toBeGreaterThan(1.5)
    expect(readFileSync(join(folder, 'report.md'), 'utf8')).toMatch(/paged gives \d\.\d\dx/)
    const page = readFileSync(join(folder, 'report.html'), 'utf8')
    expect(/<h1>[^<]*paged gives \d\.\d\dx/.test(page)).toBe(true)
    for (const id of ['throughput', 'latency', 'ttft', 'itl', 'gantt', 'occupancy', 'timeline', 'lengths'])
      expect(page.includes(`id="chart-${id}"`), id).toBe(true)
    expect(printed).toBe('')
  })

  test('gives the same summary again after it was deleted', async () => {
    await storeRun()
    await reportCommand(folder)
    const first = readFileSync(join(folder, 'summary.json'), 'utf8')
    rmSync(join(folder, 'summary.json'))
    await reportCommand(folder)
    expect(readFileSync(join(folder, 'summary.json'), 'utf8')).toBe(first)
  })

  test('prints table, Markdown, JUnit and JSON on stdout, and touches no file', async () => {
    await storeRun()
    for (const [format, start] of [
      ['table', /^(INVALID|UNVERIFIED|NO-STEADY-STATE)?:? ?paged gives/],
      ['markdown', /^<!-- pagedbench -->/],
      ['junit', /^<\?xml/],
      ['json', /^\{\n {2}"schema": "pagedbench\/report@1"/],
    ] as const) {
      printed = ''
      await reportCommand(folder, { format })
      expect(printed).toMatch(start)
    }
    expect(existsSync(join(folder, 'report.html'))).toBe(false)
  })

  test('takes --details as a table, and not with anything else', async () => {
    await storeRun()
    await reportCommand(folder, { details: true })
    expect(printed).toMatch(/paged gives/)
    expect(printed).toMatch(/per step/)
    expect(existsSync(join(folder, 'report.html'))).toBe(false)
    await expect(reportCommand(folder, { details: true, format: 'html' })).rejects.toMatchObject({ code: 'usage' })
  })

  test('reports a killed run as far as it came, marked partial', async () => {
    await storeRun(false)
    await reportCommand(folder, { format: 'table' })
    expect(printed).toContain('INVALID (PARTIAL: the run did not end)')
    expect(printed).toContain('the run ended before this block did')
  })

  test('gives a sweep one page over all its runs', async () => {
    await storeRun()
    const sweep = join(folder, '..')
    // The first load's run is there and computed again; of the others the stored points are taken.
    const points = sweepPoints().map((point) => (point.value === 1 ? { ...point, folder: 'run' } : point))
    writeFileSync(join(sweep, 'frontier.json'), JSON.stringify({ schema: 'pagedbench/frontier@1', rows: points }))
    await reportCommand(sweep)
    const page = readFileSync(join(sweep, 'report.html'), 'utf8')
    expect(/<h1>Highest output tokens\/s: static 140 at concurrency 64/.test(page)).toBe(true)
    expect(page.includes('concurrency 64, static: ttft p50 is above 2000 ms')).toBe(true)
    expect(page.includes('>18.6<')).toBe(false)
    for (const [format, start] of [
      ['table', /^Highest output tokens/],
      ['markdown', /^<!-- pagedbench -->\n\n\*\*Highest/],
      ['json', /^\{\n {2}"schema": "pagedbench\/frontier@1"/],
    ] as const) {
      printed = ''
      await reportCommand(sweep, { format })
      expect(printed).toMatch(start)
    }
    await expect(reportCommand(sweep, { format: 'junit' })).rejects.toMatchObject({ code: 'usage' })
    writeFileSync(
      join(sweep, 'frontier.json'),
      JSON.stringify({ schema: 'pagedbench/frontier@1', rows: [{ ...points[0], folder: '../..' }] }),
    )
    await expect(reportCommand(sweep)).rejects.toMatchObject({ code: 'bad-result' })
  })

  test.each([
    [{ format: 'htm' }, 'did you mean html?'],
    [{ reportData: 'everything' }, 'one of auto, summary, requests, tokens'],
  ])('refuses %o and says what is known', async (options, fix) => {
    await storeRun()
    const failure = (await reportCommand(folder, options).catch((error: unknown) => error)) as Failure
    expect(failure).toBeInstanceOf(Failure)
    expect(failure.code).toBe('usage')
    expect(failure.fix).toBe(fix)
  })

  test('refuses one output file for two runs, and a folder that is no run', async () => {
    await expect(reportCommand(['a', 'b'], { out: 'x.html' })).rejects.toMatchObject({ code: 'usage' })
    await expect(reportCommand(temporaryFolder())).rejects.toMatchObject({ code: 'bad-result' })
  })
})
