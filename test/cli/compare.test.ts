import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { compareRuns } from '../../src/cli/compare.js'
import { COMPARE_FORMATS, renderComparison } from '../../src/cli/compare-render.js'
import type { RequestRecord } from '../../src/result/schema.js'
import { createRun } from '../../src/result/store.js'
import { loadScenario } from '../../src/scenario/load.js'
import { makePlan } from '../../src/scenario/plan.js'
import { fixture } from '../reports/fixture.js'
import { temporaryFolder } from '../result/builders.js'

/** A stored run of simulated blocks whose every time is stretched by `slowdown`, a little different in each block. */
async function storeRun(name: string, slowdown: number, planHash = 'same'): Promise<string> {
  const directory = join(temporaryFolder(), name)
  const scenario = loadScenario({ source: 'chat-cpu', overrides: { concurrency: 16, slo: 'llama3.1-8b' } })
  const plan = await makePlan(scenario, { vocabSize: 32_000 })
  const { run } = fixture({ blocksPerTarget: 5 })
  const writer = createRun(directory, {
    ...run.manifest,
    scenario: { ...scenario, slo: { ...scenario.slo, terms: [] }, minWindowSecs: 0 } as unknown as Record<
      string,
      unknown
    >,
    blocks: [],
    planHash,
    planRequests: plan.rows.length,
  })
  writer.writePlan(plan.rows)
  const paged = run.blocks.filter((block) => block.manifest.target === 'paged')
  for (const { manifest, records } of paged) {
    const factor = slowdown * (1 + 0.004 * ((manifest.index % 3) - 1))
    const origin = manifest.startNs
    const block = writer.openBlock(manifest)
    for (const record of records) block.writeRecord(stretched(record, origin, factor))
    block.writeHealth([])
    const stretch = (ns: number | null) => (ns === null ? null : origin + (ns - origin) * factor)
    block.end('complete', { endNs: stretch(manifest.endNs), measureStartNs: stretch(manifest.measureStartNs) }, null)
  }
  writer.updateManifest({ targets: run.manifest.targets.filter((target) => target.name === 'paged') })
  writer.finish()
  return directory
}

const TIMES = [
  'intendedNs',
  'dequeuedNs',
  'sentNs',
  'bodySentNs',
  'headersNs',
  'firstByteNs',
  'firstTokenNs',
  'firstOutputNs',
  'lastTokenNs',
  'doneNs',
] as const

function stretched(record: RequestRecord, origin: number, factor: number): RequestRecord {
  const changed = { ...record, readNs: record.readNs.map((ns) => ns * factor) }
  for (const field of TIMES) {
    const value = record[field]
    if (value !== null) changed[field] = origin + (value - origin) * factor
  }
  return changed
}

describe('bench compare', () => {
  it('finds a slowdown of 20 % a regression (exit 10) and the same run equivalent (exit 0)', async () => {
    const [base, same, slow] = [await storeRun('base', 1), await storeRun('same', 1), await storeRun('slow', 1.2)]
    const equal = compareRuns(base, same, {})
    expect(equal.obstacles).toEqual([])
    expect(equal.exitCode).toBe(0)
    expect(equal.rows.find((row) => row.metric === 'output tok/s')!.verdict).toBe('equivalent')
    const worse = compareRuns(base, slow, {})
    expect(worse.exitCode).toBe(10)
    const throughput = worse.rows.find((row) => row.metric === 'output tok/s')!
    expect(throughput.verdict).toBe('regressed')
    expect(throughput.ratio).toBeCloseTo(1 / 1.2, 2)
    expect(compareRuns(slow, base, {}).rows.find((row) => row.metric === 'output tok/s')!.verdict).toBe('improved')
  })

  it('refuses unequal plans (exit 4) unless forced, and then shows the force', async () => {
    const [base, other] = [await storeRun('base', 1), await storeRun('other', 1, 'different')]
    const refused = compareRuns(base, other, {})
    expect(refused.exitCode).toBe(4)
    expect(refused.obstacles.join()).toMatch(/different plans/)
    const forced = compareRuns(base, other, { force: true })
    expect(forced.exitCode).toBe(0)
    expect(renderComparison(forced, 'table')).toMatch(/different plans/)
  })

  it('renders every format, each naming every gated metric', async () => {
    const result = compareRuns(await storeRun('base', 1), await storeRun('slow', 1.3), {})
    for (const format of COMPARE_FORMATS) {
      const text = renderComparison(result, format)
      for (const metric of ['output tok/s', 'TTFT p50', 'ITL mean', 'TPOT p50']) expect(text).toContain(metric)
    }
    expect(renderComparison(result, 'junit')).toMatch(/<failure/)
  })
})
