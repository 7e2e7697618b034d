import { describe, expect, test } from 'vitest'
import { allCharts } from '../../reports/charts/all.js'
import { itlEcdf, ttftEcdf } from '../../reports/charts/ecdf.js'
import { frontierCharts, frontierFinding } from '../../reports/charts/frontier.js'
import { requestPhases } from '../../reports/charts/phases.js'
import { binSecs, receivedTokens, stepRate, stepShare } from '../../reports/charts/series.js'
import { shownBlocks } from '../../reports/charts/shown.js'
import type { ReportInput } from '../../reports/input.js'
import { renderChart } from '../../reports/render.js'
import { fixture, sweepPoints } from './fixture.js'

const ids = (input: ReportInput) => allCharts(input).map((chart) => chart.id)

describe('which charts a run has', () => {
  test('both engines: all of them', () => {
    const all = [
      'throughput',
      'latency',
      'forest',
      'ttft',
      'itl',
      'ttft-parts',
      'gantt',
      'occupancy',
      'timeline',
      'lengths',
    ]
    expect(ids(fixture())).toEqual(all)
    expect(ids(fixture({ blocksPerTarget: 1, targets: ['paged'] }))).toEqual(all.filter((id) => id !== 'forest'))
  })

  test('an external target: those that need no step trace', () => {
    const input = fixture({ targets: ['external'], blocksPerTarget: 1 })
    expect(ids(input)).toEqual(['throughput', 'latency', 'ttft', 'itl', 'gantt', 'timeline', 'lengths'])
  })

  test('no success: no picture of numbers that do not exist', () => {
    const input = fixture({ failures: 'all' })
    input.run.blocks = input.run.blocks.map((block) => ({ ...block, steps: [], telemetry: [] }))
    expect(ids(input)).not.toContain('throughput')
    expect(ids(input)).not.toContain('ttft')
    expect(ids(input)).toContain('lengths')
  })

  test('200,000 requests: no stack overflows', () => {
    const input = fixture({ targets: ['paged'], blocksPerTarget: 1, steps: false })
    const { plan, blocks } = input.run
    input.run.plan = Array.from({ length: 200_000 }, (_, index) => ({ ...plan[index % plan.length]!, index }))
    const records = blocks[0]!.records
    blocks[0]!.records = Array.from({ length: 200_000 }, (_, index) => ({ ...records[index % records.length]!, index }))
    expect(ids(input)).toContain('gantt')
  })

  test('no records at all: nothing throws', () => {
    const input = fixture()
    input.run.blocks = []
    input.run.plan = []
    input.summary.blocks = []
    input.summary.targets = []
    input.summary.comparisons = []
    expect(ids(input)).toEqual([])
  })
})

test.each(allCharts(fixture({ gpu: true, targets: ['static', 'paged', 'external'], requests: 300 })))(
  'chart $id: drawn without warnings, with a finding, a note and a table',
  async (chart) => {
    const { svg } = await renderChart(chart)
    expect(svg).toMatch(/^<svg .*<\/svg>$/s)
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
    expect(svg).not.toMatch(/#(?:000|4c78a8|333|888|ddd)\b/)
    if (chart.legend.some((entry) => entry.series !== null))
      expect(JSON.stringify(chart.spec)).toContain('indexof(hidden')
    expect(chart.title.length).toBeGreaterThan(10)
    expect(chart.note.length).toBeGreaterThan(40)
    for (const row of chart.table.rows) expect(row).toHaveLength(chart.table.head.length)
  },
)

test('labels of a sweep that would run into each other become one; targets label on their own side', () => {
  const near = sweepPoints().map((point) =>
    point.value > 16 ? { ...point, itlP50Ms: 60, outputTokensPerSecond: 200 } : point,
  )
  const { values } = frontierCharts(near)[0]!.spec['data'] as { values: { s: string; name: string; above: boolean }[] }
  expect(values.filter((row) => row.s === 't1').map((row) => row.name)).toContain('32, 64')
  expect(values.filter((row) => row.name === '')).toHaveLength(2)
  expect(new Set(values.map((row) => `${row.s} ${row.above}`))).toEqual(new Set(['t0 false', 't1 true']))
})

test('the charts of a sweep: one point per run, hollow where an objective was missed', async () => {
  const charts = frontierCharts(sweepPoints())
  expect(charts.map((chart) => chart.id)).toEqual(['frontier', 'load'])
  expect(charts[0]!.title).toBe('What concurrency buys: the throughput of all streams against the speed of one')
  expect(frontierFinding(sweepPoints())).toBe(
    'Highest output tokens/s: static 140 at concurrency 64, paged 299 at concurrency 64',
  )
  expect(charts[0]!.table.rows).toHaveLength(14)
  for (const chart of charts) {
    const { svg } = await renderChart(chart)
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
    expect(svg.match(/fill="var\(--bg\)"/g)!.length).toBeGreaterThan(1)
  }
  expect(frontierCharts([])).toEqual([])
})

describe('what the pictures show', () => {
  const input = fixture()
  const [base, head] = shownBlocks(input) as [ReturnType<typeof shownBlocks>[0], ReturnType<typeof shownBlocks>[0]]

  test('tokens over time add up to the tokens received', () => {
    const bin = binSecs(head.durationSecs)
    const drawn = receivedTokens(head, bin).reduce((sum, point) => sum + point.v! * bin, 0)
    const received = head.data.records.reduce((sum, record) => sum + record.counted, 0)
    expect(Math.abs(drawn / received - 1)).toBeLessThan(0.01)
  })

  test('prefilled tokens over time add up to the prompts', () => {
    const bin = binSecs(head.durationSecs)
    const drawn = stepRate(head, bin, (step) => step.prefillTokens).reduce((sum, point) => sum + point.v! * bin, 0)
    const prompts = head.data.records.reduce((sum, record) => sum + record.inputTokens, 0)
    expect(Math.abs(drawn / prompts - 1)).toBeLessThan(0.01)
  })

  test('padding is none in the continuous batch and some in the static one', () => {
    const shares = (block: typeof base) =>
      stepShare(
        block,
        0.5,
        (step) => step.paddedTokens,
        (step) => step.paddedTokens + step.prefillTokens + step.decodeTokens,
      )
    expect(Math.max(...shares(head).map((point) => point.v ?? 0))).toBe(0)
    expect(Math.max(...shares(base).map((point) => point.v ?? 0))).toBeGreaterThan(0.5)
  })

  test('phases of a request follow each other without a gap or an overlap', () => {
    for (const block of [base, head])
      for (const request of requestPhases(block)) {
        const times = request.segments.flatMap((segment) => [segment.startSecs, segment.endSecs])
        for (let i = 1; i < times.length; i++) expect(times[i]! - times[i - 1]!).toBeGreaterThanOrEqual(-1e-3)
      }
  })

  test('waste in the Gantt is hatched for the static engine only', () => {
    const wasted = (block: typeof base) =>
      requestPhases(block).filter((request) => request.segments.some((segment) => segment.phase === 'wasted')).length
    expect(wasted(base)).toBeGreaterThan(80)
    expect(wasted(head)).toBe(0)
  })

  test('a curve of shares rises from the first sample to 1 and fades beyond what n supports', () => {
    for (const chart of [ttftEcdf(input)!, itlEcdf(input)!]) {
      const rows = (chart.spec['data'] as { values: { s: string; ms: number; share: number; tail: number }[] }).values
      for (const series of ['t0', 't1']) {
        const points = rows.filter((row) => row.s === series)
        expect(points.at(-1)!.share).toBe(1)
        for (let i = 1; i < points.length; i++) {
          expect(points[i]!.ms).toBeGreaterThanOrEqual(points[i - 1]!.ms)
          expect(points[i]!.share).toBeGreaterThan(points[i - 1]!.share)
        }
        // 288 requests support p95 (130) and not p99 (662).
        expect(points.filter((point) => point.tail === 1).every((point) => point.share > 0.95)).toBe(true)
        expect(points.filter((point) => point.tail === 0).every((point) => point.share <= 0.95)).toBe(true)
      }
    }
  })

  test('several tokens in one read share its gap', () => {
    const one = fixture({ targets: ['paged'], blocksPerTarget: 1, requests: 12 })
    for (const record of one.run.blocks[0]!.records)
      Object.assign(record, { readNs: [50e6, 90e6], readTokens: [1, 4], readFrames: [1, 1], counted: 5 })
    const rows = (itlEcdf(one)!.spec['data'] as { values: { ms: number }[] }).values
    expect(new Set(rows.map((row) => row.ms))).toEqual(new Set([10]))
  })
})
