import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { Failure } from '../../src/failure.js'
import { checkFigures } from '../../src/metrics/foreign/check.js'
import { CHECKED, type ForeignResult, fromEvents, readForeignResult } from '../../src/metrics/foreign/result.js'

const fixture = (name: string) => readFileSync(new URL(`../fixtures/load/${name}`, import.meta.url), 'utf8')
const read = (name: string, records?: string) =>
  readForeignResult(fixture(name), name, records === undefined ? undefined : fixture(records))[0]!
const without = (text: string, ...path: string[]) => {
  const value = JSON.parse(text)
  const last = path.pop()!
  delete path.reduce((at, key) => at[key], value)[last]
  return JSON.stringify(value)
}
const failure = (run: () => unknown): Failure => {
  try {
    run()
  } catch (error) {
    if (error instanceof Failure) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

/** Recorded runs of each tool; how many figures it printed, and the rounding left: wall clocks of 256 ns and microseconds in aiperf. */
const RECORDED = [
  { file: 'vllm-0.32.0-detailed.json', figures: 19, relative: 1e-12 },
  { file: 'guidellm-0.8.1.json', figures: 19, relative: 1e-12 },
  { file: 'aiperf-0.13.0.json', records: 'aiperf-0.13.0-raw.jsonl', figures: 15, relative: 1e-6 },
  { file: 'aiperf-0.13.0.json', records: 'aiperf-0.13.0.jsonl', figures: 15, relative: 1e-6 },
]

describe.each(RECORDED)('our column from the events of $file $records', ({ file, records, figures, relative }) => {
  const result = read(file, records)

  it('is what the tool printed: mean, p50, p90, p99 of every latency, and rates', () => {
    expect(result).toMatchObject({ requestsOk: 12, requestsFailed: 0, concurrency: 4, model: 'null-model' })
    expect(result.events!.records).toHaveLength(12)
    const checked = checkFigures(result.column, fromEvents(result)!)
    expect(checked).toHaveLength(figures)
    for (const figure of checked) {
      expect(figure.withinRounding, figure.name).toBe(true)
      expect(Math.abs(figure.relative), figure.name).toBeLessThan(relative)
    }
  })

  it('would show one event 5 ms off, one token more, or a window 1 % off', () => {
    const names = (changed: ForeignResult) =>
      checkFigures(result.column, fromEvents(changed)!)
        .filter((figure) => !figure.withinRounding)
        .map((figure) => figure.name)
    const edit = (change: (record: NonNullable<ForeignResult['events']>['records'][number]) => object) => {
      const [first, ...rest] = result.events!.records
      return { ...result, events: { ...result.events!, records: [{ ...first!, ...change(first!) }, ...rest] } }
    }
    const late = (ns: number | null | undefined) => (ns == null ? null : ns + 5e6)
    const slow = edit((r) => ({ firstTokenNs: late(r.firstTokenNs), firstChoiceNs: late(r.firstChoiceNs) }))
    expect(names(slow)).toContain('TTFT mean')
    expect(names(edit((r) => ({ counted: r.counted + 1 })))).toContain('output tok/s')
    const window = result.events!.window!
    const longer = { ...window, endNs: window.endNs * 1.01 }
    expect(names({ ...result, events: { ...result.events!, window: longer } })).toEqual([
      'output tok/s',
      'requests/s',
      'total tok/s',
    ])
  })
})

describe('result files of other tools', () => {
  it('are those of the releases named', () => {
    expect(read('guidellm-0.8.1.json').version).toBe(CHECKED.guidellm)
    expect(read('aiperf-0.13.0.json').version).toBe(CHECKED.aiperf)
    expect(read('vllm-0.32.0.json').version).toBeNull()
  })

  it('give what they hold: seconds as milliseconds, a percentile that was not asked for as null', () => {
    const guidellm = read('guidellm-0.8.1.json')
    const printed = JSON.parse(fixture('guidellm-0.8.1.json')).benchmarks[0].metrics
    expect(guidellm.column.e2eMs!.p99).toBeCloseTo(1000 * printed.request_latency.successful.percentiles.p99, 9)
    const text = without(fixture('vllm-0.32.0.json'), 'p90_itl_ms')
    const [vllm] = readForeignResult(text, 'v.json')
    expect(vllm!.column.itlMs).toMatchObject({ p90: null, p99: expect.any(Number) })
    expect(
      readForeignResult(without(without(text, 'mean_e2el_ms'), 'median_e2el_ms'), 'v.json')[0]!.column.e2eMs,
    ).toBeNull()
  })

  it('hold no events without --save-detailed, without records, or when not all requests are there; a note says so', () => {
    const whole = JSON.parse(fixture('guidellm-0.8.1.json'))
    whole.benchmarks[0].requests.successful.pop()
    const sampled = readForeignResult(JSON.stringify(whole), 'g.json')[0]!
    const lines = fixture('aiperf-0.13.0.jsonl').trimEnd().split('\n')
    const fewer = readForeignResult(fixture('aiperf-0.13.0.json'), 'a.json', lines.slice(1).join('\n'))[0]!
    for (const result of [read('vllm-0.32.0.json'), read('aiperf-0.13.0.json'), sampled, fewer]) {
      expect(result.events).toBeNull()
      expect(fromEvents(result)).toBeNull()
      expect(result.notes.join('; ')).toMatch(/no events|records hold 11/)
    }
  })

  it('leave warm-up and failed requests of aiperf’s records out', () => {
    const [first, ...rest] = fixture('aiperf-0.13.0.jsonl').trimEnd().split('\n')
    const warm = first!.replace('"benchmark_phase":"profiling"', '"benchmark_phase":"warmup"')
    const failed = JSON.stringify({ ...JSON.parse(first!), metrics: {}, error: { code: 500, message: 'x' } })
    const records = [warm, failed, first, ...rest].join('\n')
    expect(readForeignResult(fixture('aiperf-0.13.0.json'), 'a.json', records)[0]!.events!.records).toHaveLength(12)
  })

  it('of vllm bench serve --append-result hold one result a line', () => {
    const line = (name: string) => JSON.stringify(JSON.parse(fixture(name)))
    const results = readForeignResult(`${line('vllm-0.32.0-detailed.json')}\n${line('vllm-0.32.0.json')}\n`, 'v.json')
    expect(results.map((result) => result.events?.records.length ?? null)).toEqual([12, null])
  })

  it.each(RECORDED)('that are cut are refused, and the error says so: $file', ({ file }) => {
    const { code, message, fix } = failure(() => readForeignResult(fixture(file).slice(0, 1500), file))
    expect(code).toBe('bad-result')
    expect(message).toContain(`${file}: not JSON, or cut after 1500 characters`)
    expect(fix).toContain('whole file')
  })

  it.each([
    ['vllm-0.32.0.json', ['output_throughput'], /fields output_throughput, benchmarks, request_latency/],
    ['vllm-0.32.0.json', ['duration'], /\(vllm bench serve\): field duration: /],
    ['vllm-0.32.0.json', ['median_ttft_ms'], /field median_ttft_ms: /],
    ['vllm-0.32.0-detailed.json', ['itls'], /field itls: /],
    ['vllm-0.32.0-detailed.json', ['itls', '3'], /field itls.3: /],
    ['guidellm-0.8.1.json', ['benchmarks', '0', 'metrics'], /\(guidellm\): field benchmarks.0.metrics: /],
    [
      'guidellm-0.8.1.json',
      ['benchmarks', '0', 'metrics', 'request_latency', 'successful', 'percentiles', 'p90'],
      /field benchmarks.0.metrics.request_latency.successful.percentiles.p90: /,
    ],
    ['guidellm-0.8.1.json', ['benchmarks', '0', 'requests', 'successful', '2', 'info'], /requests.successful.2.info: /],
    ['aiperf-0.13.0.json', ['request_throughput'], /\(aiperf\): field request_throughput: /],
    ['aiperf-0.13.0.json', ['time_to_first_token', 'unit'], /field time_to_first_token.unit: /],
  ] as const)('name the field that is missing: %s %j', (file, path, message) => {
    const error = failure(() => readForeignResult(without(fixture(file), ...path), file))
    expect(error.code).toBe('bad-result')
    expect(error.message).toMatch(message)
    expect(error.message).toContain(file)
    expect(error.fix).not.toBeNull()
  })

  it('name the list that is shorter, the unit that is not known, and an empty list of benchmarks', () => {
    const shorter = JSON.parse(fixture('vllm-0.32.0-detailed.json'))
    shorter.output_lens.pop()
    expect(() => readForeignResult(JSON.stringify(shorter), 'v.json')).toThrow(
      /field output_lens: 11 entries, but ttfts has 12/,
    )
    const minutes = fixture('aiperf-0.13.0.json').replace('"unit": "ms"', '"unit": "min"')
    expect(() => readForeignResult(minutes, 'a.json')).toThrow(/unit: not one of ns, us, ms, s, sec/)
    expect(() => readForeignResult('{"benchmarks": []}', 'g.json')).toThrow(/field benchmarks: /)
  })

  it('name the line of aiperf’s records that is cut or wrong', () => {
    for (const name of ['aiperf-0.13.0.jsonl', 'aiperf-0.13.0-raw.jsonl']) {
      const text = fixture(name)
      const cut = () => readForeignResult(fixture('aiperf-0.13.0.json'), 'a.json', text.slice(0, -200))
      expect(cut).toThrow(/records of a\.json, line 12: not JSON, or cut/)
    }
    const silent = fixture('aiperf-0.13.0-raw.jsonl').replaceAll('usage', 'used')
    expect(() => readForeignResult(fixture('aiperf-0.13.0.json'), 'a.json', silent)).toThrow(/line 1: last usage frame/)
  })

  it.each(['{}', '[]', 'x', '{"mean": 1}'])('refuses %s', (text) => {
    expect(failure(() => readForeignResult(text, 'x.json')).message).toMatch(/x\.json: not/)
  })
})
