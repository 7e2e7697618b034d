import { describe, expect, test } from 'vitest'
import { ttftPartsChart } from '../../reports/charts/ttft-parts.js'
import { detailTables } from '../../reports/details/all.js'
import { renderHtml } from '../../reports/html.js'
import type { ReportInput } from '../../reports/input.js'
import { renderMarkdown } from '../../reports/markdown.js'
import { renderChart } from '../../reports/render.js'
import { renderTerminal } from '../../reports/terminal.js'
import { fixture } from './fixture.js'

const DETAILS = { width: 160, color: false, ascii: false, details: true }
const all = () =>
  fixture({ gpu: true, targets: ['static', 'paged', 'external'], serverMetrics: true, blocksPerTarget: 1 })
const tableOf = (input: ReportInput, id: string) => detailTables(input).find((table) => table.id === id)

/** What each of the three forms says of a detail. */
async function forms(input: ReportInput): Promise<[string, string][]> {
  return [
    ['terminal', renderTerminal(input, DETAILS)],
    ['markdown', renderMarkdown(input).replaceAll('\\', '').replaceAll('\u2060', '')],
    ['page', (await renderHtml(input)).replaceAll('&quot;', '"')],
  ]
}

describe('the details', () => {
  test('stand in all three forms; the terminal has them with --details only', async () => {
    const input = all()
    input.run.manifest.requestCeilings = [
      ceiling(null, 5100),
      { ...ceiling('paged', 240), failures: 3 },
      ceiling('static', 24),
    ]
    const titles = detailTables(input).map((table) => table.title)
    expect(titles).toHaveLength(6)
    for (const [form, text] of await forms(input)) for (const title of titles) expect(text, form).toContain(title)
    const plain = renderTerminal(input, { ...DETAILS, details: false })
    for (const title of titles) expect(plain).not.toContain(title)
  })

  test('every row has a cell for every column, and no cell is a figure that does not exist', () => {
    for (const input of [all(), fixture({ failures: 'all' }), fixture({ targets: ['external'], steps: false })])
      for (const table of detailTables(input))
        for (const row of table.rows) {
          expect(row, table.id).toHaveLength(table.head.length)
          expect(row.join(' '), table.id).not.toMatch(/NaN|undefined|Infinity|null/)
        }
  })

  test.each([40, 60, 100])('stay within %i columns of a terminal', (width) => {
    for (const line of renderTerminal(all(), { ...DETAILS, width }).split('\n'))
      expect([...line].length).toBeLessThanOrEqual(width)
  })
})

describe('where TTFT goes', () => {
  test('has a mean and three percentiles per target, a dash under the floor, and the floor', () => {
    const table = tableOf(all(), 'ttft-parts')!
    expect(table.rows.map(([name]) => name)).toEqual(
      ['static', 'paged'].flatMap((name) => ['mean', 'p50', 'p90', 'p99'].map((stat) => `${name}, ${stat}`)),
    )
    // 96 requests carry p90 (64) and not p99 (662).
    expect(table.rows[2]!.slice(1, 7)).not.toContain('–')
    expect(new Set(table.rows[3]!.slice(1, 7))).toEqual(new Set(['–']))
    expect(table.notes.join(' ')).toContain('p90 64, p99 662')
  })

  test('is drawn as stacked bars: our engines by trace, a server by its /metrics', async () => {
    const chart = ttftPartsChart(all())!
    const { values } = chart.spec['data'] as { values: { target: string; phase: string; ms: number }[] }
    const phases = (target: string) => values.filter((piece) => piece.target === target).map(({ phase }) => phase)
    expect(phases('paged')).toEqual(['client late', 'send', 'queue', 'prefill', 'flush and receive'])
    expect(phases('external')).toEqual(['queue', 'prefill', 'rest (not told apart)'])
    expect(chart.note).toContain('external: means of the server’s own /metrics')
    const drawn = (await renderChart(chart)).svg.match(/fill="var\(--(?:late|send|queue|prefill|flush|neutral)\)"/g)!
    expect(new Set(drawn).size).toBe(6)
  })

  test('has no picture when nobody tells', async () => {
    const input = fixture({ targets: ['external'], steps: false })
    expect(ttftPartsChart(input)).toBeNull()
    expect(await renderHtml(input)).toContain('Nobody told')
  })
})

describe('a server’s own /metrics', () => {
  test('names source, what is included, what it cannot say, and other clients', async () => {
    for (const [form, text] of await forms(all())) {
      const words = text.replace(/\s+/g, ' ')
      for (const part of [
        '127.0.0.1:8081/metrics (vLLM)',
        '0 requests of warm-up and 96 measured',
        'vllm:request_queue_time_seconds',
        'other clients used it meanwhile',
        'Only means',
      ])
        expect(words, `${form}: ${part}`).toContain(part)
    }
  })

  test('that says nothing has its reason, not an empty table', () => {
    const input = all()
    const block = input.summary.blocks.find((one) => one.target === 'external')!
    block.serverSplit = { ...block.serverSplit!, server: null, parts: [], count: null, why: 'HTTP 404' }
    const table = tableOf(input, 'server-split')!
    expect(table.rows).toEqual([])
    expect(table.notes.join(' ')).toContain('says nothing of it: HTTP 404')
  })
})

test('the request ceiling stands beside what the run asked', () => {
  const input = all()
  input.run.manifest.requestCeilings = [ceiling(null, 5100), ceiling('paged', 240)]
  const block = input.summary.blocks.find((one) => one.target === 'paged')!
  Object.assign(block, { requestsPerSecond: 12, shareOfRequestCeiling: 0.05 })
  const { rows } = tableOf(input, 'request-ceiling')!
  expect(rows[0]!.slice(0, 2)).toEqual(['null server (does nothing)', '5,100'])
  expect(rows[1]).toEqual(['paged', '240', '4.00', '9.00', '0', '16', '12.0', '5.0%'])
})

test('utilization.gpu is explained where it stands, beside what GPM saw', async () => {
  const table = tableOf(all(), 'device')!
  expect(table.head.slice(1, 6)).toEqual(['SM %', 'occupancy %', 'tensor %', 'DRAM %', 'any kernel %'])
  expect(table.rows[0]!.slice(1, 6)).toEqual(['94.0', '31.0', '12.0', '71.0', '99.0'])
  for (const [form, text] of await forms(all()))
    expect(text.replace(/\s+/g, ' '), form).toContain('the share of time in which any kernel ran')
  const page = await renderHtml(all())
  for (const panel of ['SMs with a warp in flight', 'Warps in flight', 'Tensor cores active', 'DRAM bandwidth'])
    expect(page).toContain(panel)
})

describe('the client’s own part', () => {
  test('stands beside TTFT and ITL in all three forms', async () => {
    for (const [form, text] of await forms(all())) {
      expect(text, form).toContain('client adds TTFT / ITL ms')
      expect(text, form).toContain('0.21 / 0.02')
    }
    expect(await renderHtml(all())).toContain('to them the client adds 0.21 and 0.02 ms')
  })

  test('or that it was not measured, and what to do', async () => {
    const input = all()
    input.summary.calibration = null
    for (const [form, text] of await forms(input)) {
      expect(text.replace(/\s+/g, ' '), form).toContain('not measured: run without --no-calibrate')
      expect(text, form).not.toContain('0.21 / 0.02')
    }
  })
})

test('a share of the limit stands beside every throughput', async () => {
  const input = all()
  const share = `${(input.summary.targets[1]!.shareOfLimit! * 100).toFixed(1)}%`
  const page = await renderHtml(input)
  expect(page).toContain(`${share} of what the device allows`)
  expect(page).toContain(`${share} of the limit`)
  const lines = renderTerminal(input, { ...DETAILS, details: false }).split('\n')
  const at = lines.findIndex((line) => line.includes('output tok/s'))
  expect(lines[at + 1]).toContain(share)
  expect(renderMarkdown(input)).toMatch(new RegExp(`\\| output tok/s .*\\n\\| share of the limit .*${share}`))
})

const ceiling = (target: string | null, requestsPerSecond: number) => ({
  ...{ target, requestsPerSecond, connections: 16, durationSecs: 3, requests: 3 * requestsPerSecond },
  ...{ latencyP50Ms: 4, latencyP99Ms: 9, failures: 0 },
})
