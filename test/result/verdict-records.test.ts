import { describe, expect, it } from 'vitest'
import { measureBlock } from '../../src/metrics/block.js'
import { blockFacts } from '../../src/result/facts.js'
import type { BlockData } from '../../src/result/read.js'
import type {
  BlockManifest,
  CacheProbe,
  Calibration,
  RequestRecord,
  TargetInfo,
  TelemetryInfo,
  TelemetrySample,
  ValidityReason,
  WorkerHealth,
} from '../../src/result/schema.js'
import { parseScenario } from '../../src/scenario/parse.js'
import { makePlan } from '../../src/scenario/plan.js'
import { judgeBlock } from '../../src/statistics/validity.js'
import { block, record, target } from '../metrics/fixture.js'

/** Verdicts from raw records: a sound block of 40 requests, and what each change to the records themselves makes of it. */
const CLOSED = 'workload: {input: 32, output: 3}\nload: {concurrency: 2, requests: 40}\n'
const OPEN = 'workload: {input: 32, output: 3}\nload: {rate: 10/s, arrivals: constant, requests: 40, cap: 8}\n'
const HEALTH: WorkerHealth = {
  ...{ worker: 0, eventLoopDelayP50Ms: 0.1, eventLoopDelayP99Ms: 0.5, eventLoopDelayMaxMs: 1 },
  ...{ eventLoopUtilization: 0.2, gcPauses: 0, gcPauseTotalMs: 0, gcPauseMaxMs: 0 },
  ...{ scheduleLagP50Ms: 0.1, scheduleLagP99Ms: 0.5, scheduleLagMaxMs: 1 },
  ...{ socketsOpened: 2, cpuSecs: 1, wallSecs: 4, fastParserDisagreements: 0 },
}
const CALIBRATION: Calibration = { ttftAddedMsP50: 0.2, ttftAddedMsP99: 1, itlAddedMsP50: 0.01, itlAddedMsP99: 0.5 }

interface Change {
  text?: string
  record?(one: RequestRecord, index: number): Partial<RequestRecord>
  health?: WorkerHealth[]
  calibration?: Calibration | null
  target?: Partial<TargetInfo>
  block?: Partial<BlockManifest>
  telemetry?: { info: TelemetryInfo; samples: TelemetrySample[] }
}

async function reasons(change: Change = {}): Promise<ValidityReason[]> {
  const scenario = parseScenario(change.text ?? CLOSED, 'sound.yaml')
  const plan = (await makePlan(scenario, { vocabSize: 1000 })).rows
  const closed = scenario.load.arrival.kind === 'closed'
  const records = plan.map((row, index) => {
    // Closed loop: two slots, a new request every 100 ms each. Open loop: when it is due.
    const sentMs = closed ? Math.floor(index / 2) * 130 + (index % 2) * 5 : row.dueNs! / 1e6
    const one = { ...record({ sentMs }), index, phase: row.phase, outputTokens: row.outputTokens }
    return { ...one, ...change.record?.(one, index) }
  })
  const manifest = { ...block, ...change.block }
  const info = { ...target, ...change.target }
  const data: BlockData = {
    ...{ manifest, records, steps: [], health: change.health ?? [HEALTH] },
    telemetry: change.telemetry?.samples ?? [],
  }
  const { metrics, steady } = measureBlock({
    ...{ block: manifest, records, steps: [], telemetry: data.telemetry, scenario, target: info, ceilings: null },
  })
  const facts = blockFacts({
    ...{ data, plan, scenario, target: info, metrics, steady },
    telemetry: change.telemetry?.info ?? null,
    calibration: change.calibration === undefined ? CALIBRATION : change.calibration,
  })
  return judgeBlock(facts).reasons
}

/** 'client: invalid', the codes and severities alone. */
const codes = async (change: Change = {}) => (await reasons(change)).map(({ code, severity }) => `${code}: ${severity}`)
const said = async (change: Change) => (await reasons(change)).map(({ evidence, fix }) => `${evidence}; ${fix}`).join()

describe('a verdict from records', () => {
  it('is VALID for sound ones, in closed and in open loop', async () => {
    expect(await codes()).toEqual([])
    expect(await codes({ text: OPEN })).toEqual([])
  })

  it('errors: one failed request', async () => {
    const record = (_: RequestRecord, index: number) =>
      index === 7
        ? { outcome: 'http-5xx' as const, firstTokenNs: null, lastTokenNs: null, readNs: [], readTokens: [] }
        : {}
    expect(await codes({ record })).toEqual(['errors: invalid'])
    expect(await said({ record })).toContain('1 of 40')
  })

  it('samples: a p99 of 40 requests, and says which -n would carry it', async () => {
    const slo = `${CLOSED}slo: {ttft: "p99<500ms"}\n`
    expect(await codes({ text: slo })).toEqual(['samples: invalid'])
    expect(await said({ text: slo })).toMatch(/ttft p99 needs 662 samples, has 40; run with -n 662 /)
  })

  it('samples: a percentile that no column prints has its floor too', async () => {
    expect(await said({ text: `${CLOSED}slo: {ttft: "p97<500ms"}\n` })).toMatch(/ttft p97 needs 219 samples, has 40/)
    expect(await codes({ text: `${CLOSED}slo: {ttft: "p80<500ms"}\n` })).toEqual([])
  })

  it('samples: ITL counts requests, not their correlated gaps', async () => {
    const text = `${CLOSED}slo: {itl: "p90<500ms"}\n`
    expect(await said({ text })).toMatch(/itl p90 needs 64 samples, has 40/)
  })

  it('samples: failed requests are asked for on top', async () => {
    const text = `${CLOSED}slo: {ttft: "p90<500ms", errors: "60%"}\n`
    const record = (_: RequestRecord, index: number) =>
      index % 2 === 0
        ? { outcome: 'http-5xx' as const, firstTokenNs: null, lastTokenNs: null, readNs: [], readTokens: [] }
        : {}
    expect(await said({ text, record })).toMatch(/needs 64 samples, has 20; run with -n 128 /)
  })

  it('output_length: another length, and the right length by a stop of its own', async () => {
    const short = (_: RequestRecord, index: number) => (index === 3 ? { outputTokens: 4 } : {})
    expect(await codes({ record: short })).toEqual(['output_length: invalid'])
    const stop = (_: RequestRecord, index: number) => (index === 3 ? { finishReason: 'stop' } : {})
    expect(await codes({ record: stop })).toEqual(['output_length: invalid'])
    expect(await said({ record: stop })).toContain('1 ended with finish_reason stop')
    const free = CLOSED.replace('output: 3', 'output: 3, enforce: none')
    expect(await codes({ text: free, record: stop })).toEqual([])
  })

  it('tokens: ids and usage that disagree in more than 1 % of requests', async () => {
    const record = (_: RequestRecord, index: number) => (index === 3 ? { usageCompletionTokens: 4 } : {})
    expect(await codes({ record })).toEqual(['tokens: invalid'])
  })

  it('cache: cached tokens under policy cold, and none reported there', async () => {
    expect(await codes({ record: () => ({ cachedTokens: 16 }) })).toEqual(['cache: invalid'])
    expect(await codes({ text: `${CLOSED}cache: as-is\n`, record: () => ({ cachedTokens: 16 }) })).toEqual([])
  })

  it('client: a late, a busy and an uncalibrated one', async () => {
    const late = [{ ...HEALTH, scheduleLagP99Ms: 12 }]
    expect(await codes({ text: OPEN, health: late })).toEqual(['client: invalid'])
    expect(await codes({ health: late })).toEqual([])
    expect(await codes({ health: [{ ...HEALTH, eventLoopUtilization: 0.85 }] })).toEqual(['client: invalid'])
    expect(await codes({ health: [{ ...HEALTH, eventLoopDelayP99Ms: 6 }] })).toEqual(['client: invalid'])
    expect(await codes({ calibration: null })).toEqual(['client: invalid'])
  })

  it('client: one that adds more than 5 % of the measured medians (TTFT 100 ms, ITL 10 ms)', async () => {
    expect(await codes({ calibration: { ...CALIBRATION, ttftAddedMsP50: 4.9, itlAddedMsP50: 0.49 } })).toEqual([])
    expect(await said({ calibration: { ...CALIBRATION, ttftAddedMsP50: 5.1 } })).toMatch(/adds 5\.10 ms.*100\.00 ms/)
    expect(await said({ calibration: { ...CALIBRATION, itlAddedMsP50: 0.6 } })).toMatch(/adds 0\.60 ms.*10\.00 ms/)
  })

  it('client: a block of another client (no worker of ours reported) is not asked for a calibration', async () => {
    expect(await codes({ health: [], calibration: null })).toEqual([])
  })

  it('context: refused for their length', async () => {
    const record = (_: RequestRecord, index: number) =>
      index === 3
        ? {
            ...{ outcome: 'http-4xx' as const, detail: 'maximum context length is 2048' },
            ...{ firstTokenNs: null, lastTokenNs: null, readNs: [], readTokens: [] },
          }
        : {}
    expect(await codes({ record })).toEqual(['errors: invalid', 'context: invalid'])
  })

  it('overload: a load stopped early says so, and neither interrupted nor duration nor samples on top', async () => {
    const text = `${OPEN}slo: {ttft: "p99<500ms"}\nmin_window: 600s\n`
    const change = { text, block: { stoppedEarly: 'requests in flight grew from 8 to 64 over 20 s' } }
    expect(await codes(change)).toEqual(['overload: no-steady-state'])
  })
})

describe('load', () => {
  const dropEveryTenth = (_: RequestRecord, index: number) =>
    index % 10 === 9
      ? {
          ...{ outcome: 'dropped' as const, sentNs: null, bodySentNs: null, headersNs: null, firstByteNs: null },
          ...{ firstTokenNs: null, firstOutputNs: null, lastTokenNs: null, doneNs: null, readNs: [], readTokens: [] },
        }
      : {}

  it('a dropped arrival is INVALID, unless drops are declared: then it is a note, still recorded and bad', async () => {
    const tolerant = `${OPEN}slo: {errors: "20%"}\n`
    expect(await codes({ text: tolerant, record: dropEveryTenth })).toEqual(['load: invalid'])
    expect(await codes({ text: `${tolerant}drops: allowed\n`, record: dropEveryTenth })).toEqual(['load: note'])
    expect(await codes({ text: `${OPEN}drops: allowed\n`, record: dropEveryTenth })).toEqual([
      'errors: invalid',
      'load: note',
    ])
  })

  it('counts a dropped arrival as attempted and bad in attainment, declared or not', async () => {
    for (const drops of ['', 'drops: allowed\n']) {
      const scenario = parseScenario(`${OPEN}slo: {ttft: "p50<500ms"}\n${drops}`, 'x.yaml')
      const records = (await makePlan(scenario, { vocabSize: 1000 })).rows.map((row, index) => {
        const one = { ...record({ sentMs: row.dueNs! / 1e6 }), index }
        return { ...one, ...dropEveryTenth(one, index) }
      })
      const input = { block, records, steps: [], telemetry: [], scenario, target, ceilings: null }
      expect(measureBlock(input).metrics.sloAttainment).toBeCloseTo(0.9)
    }
  })

  it('a client that falls behind the planned rate', async () => {
    const slow = (one: RequestRecord) => ({
      ...record({ sentMs: ((one.sentNs! - 1e12) / 1e6) * 1.05 }),
      ...{ index: one.index, phase: one.phase, outputTokens: one.outputTokens, intendedNs: one.intendedNs },
    })
    expect(await codes({ text: OPEN, record: slow })).toEqual(['load: invalid'])
    expect(await codes({ record: slow })).toEqual([])
  })

  it('later turns of conversations are no arrivals: they neither hide nor feign a rate', async () => {
    const scenario = parseScenario(
      `workload: {input: 8, output: 3, conversation: {turns: 2}}\nload: {rate: 10/s, arrivals: constant, requests: 40}\n`,
      'turns.yaml',
    )
    const plan = (await makePlan(scenario, { vocabSize: 1000 })).rows
    const records = plan.map((row, index) => {
      const dueNs = row.dueNs ?? plan[index - 1]!.dueNs! + 150e6
      return { ...record({ sentMs: dueNs / 1e6 }), index, phase: row.phase }
    })
    const data: BlockData = { manifest: block, records, steps: [], telemetry: [], health: [HEALTH] }
    const input = { block, records, steps: [], telemetry: [], scenario, target, ceilings: null }
    const { metrics, steady } = measureBlock(input)
    const rest = { telemetry: null, calibration: CALIBRATION }
    const facts = blockFacts({ data, plan, scenario, target, metrics, steady, ...rest })
    expect(facts.achievedRps).toBeCloseTo(10, 1)
    expect(facts.askedRps).toBeCloseTo(10, 1)
  })
})

describe('gpu and telemetry coverage', () => {
  const GPU: TelemetryInfo['gpu'] = {
    ...{ name: 'H100', uuid: 'u', pciBusId: 'p', driver: 'd', nvml: 'n', memoryTotalBytes: 1 },
    ...{ powerLimitWatts: 700, maxSmClockMhz: 1980, otherProcesses: 0 },
  }
  /** 10 Hz over the block's first 4 s, as far as `at` keeps a sample. */
  const samples = (change: Partial<TelemetrySample>, at: (secs: number) => boolean = () => true): TelemetrySample[] =>
    Array.from({ length: 40 }, (_, index) => index / 10)
      .filter(at)
      .map((secs) => ({
        ...{ tNs: 1e12 + secs * 1e9, tEndNs: 1e12 + secs * 1e9 + 1e5, gpuUtilizationPercent: 99 },
        ...{ memoryUtilizationPercent: 50, powerWatts: 400, energyMillijoules: null, smClockMhz: 1980 },
        ...{ memoryClockMhz: 2619, temperatureCelsius: 50, memoryUsedBytes: 1, throttleReasons: 0 },
        ...{ gpmSmPercent: null, gpmOccupancyPercent: null, gpmTensorPercent: null, gpmDramPercent: null },
        ...{ hostCpuPercent: 5, targetCpuCores: 1, targetRssBytes: 1, ...change },
      }))
  const info = (gpu: TelemetryInfo['gpu']): TelemetryInfo => ({ gpu, absent: {}, periodMs: 100 })

  it('gpu: throttled clocks in the window, and another process on the card', async () => {
    expect(await codes({ telemetry: { info: info(GPU), samples: samples({}) } })).toEqual([])
    const hot = samples({ throttleReasons: 0x20 })
    expect(await codes({ telemetry: { info: info(GPU), samples: hot } })).toEqual(['gpu: invalid'])
    const shared = info({ ...GPU!, otherProcesses: 1 })
    expect(await codes({ telemetry: { info: shared, samples: samples({}) } })).toEqual(['gpu: invalid'])
  })

  it('coverage: a sampler that slept through a third of the window', async () => {
    const gappy = samples({}, (secs) => secs < 0.7 || secs > 2.2)
    expect(await codes({ telemetry: { info: info(GPU), samples: gappy } })).toEqual(['coverage: invalid'])
  })

  it('coverage: late samples within three periods cost nothing', async () => {
    const late = samples({}, (secs) => Math.round(secs * 10) % 5 === 0)
    expect(await codes({ telemetry: { info: info(GPU), samples: late } })).toEqual([])
  })

  it('coverage: nothing is asked where no card tells anything', async () => {
    const empty = { gpuUtilizationPercent: null, powerWatts: null, smClockMhz: null, throttleReasons: null }
    const gappy = samples(empty, (secs) => secs < 0.5)
    expect(await codes({ telemetry: { info: info(null), samples: gappy } })).toEqual([])
    // A CPU target in a run whose other target uses the card.
    expect(await codes({ telemetry: { info: info(GPU), samples: gappy } })).toEqual([])
    expect(await codes({ telemetry: { info: info(GPU), samples: [] } })).toEqual([])
  })
})

describe('the cache of a server that is not ours', () => {
  const external = { kind: 'external' as const, tokenSource: 'usage', blockSize: null }
  const silent = () => ({ cachedTokens: null })
  const probe = (change: Partial<CacheProbe>): CacheProbe => ({
    ...{ promptTokens: 1024, pairs: 5, shortMs: 10, freshMs: 100, againMs: 100, resaltedMs: 100, hit: 0 },
    ...{ resaltedHit: 0, keepsCache: 'no', answersResalted: 'no', reportsCachedTokens: false, why: null, ...change },
  })
  const with_ = (cache: string, before: CacheProbe | null, after: CacheProbe | null = before): Change => ({
    ...{ text: `${CLOSED}cache: ${cache}\n`, record: silent, target: external },
    block: { cacheCheck: before === null ? null : { counters: null, before, after } },
  })
  const warm = probe({ keepsCache: 'yes', againMs: 12, hit: 0.98 })

  it('cold holds where the salt gets past the cache, and where there is none', async () => {
    expect(await codes(with_('cold', warm))).toEqual([])
    expect(await codes(with_('cold', probe({})))).toEqual([])
  })
  it('cold is contradicted by a hit under another salt, before or after the load', async () => {
    const leaky = { ...warm, answersResalted: 'yes' as const, resaltedMs: 13, resaltedHit: 0.97 }
    expect(await codes(with_('cold', leaky))).toEqual(['cache: invalid'])
    expect(await codes(with_('cold', warm, leaky))).toEqual(['cache: invalid'])
    expect(await said(with_('cold', leaky))).toMatch(/13\.0 ms against 100\.0 ms.*5 pairs of 1024 tokens/)
  })
  it('warm and shared are contradicted by a server without a prefix cache', async () => {
    for (const policy of ['warm', 'shared']) expect(await codes(with_(policy, probe({})))).toEqual(['cache: invalid'])
  })
  it('what cannot be known is noted, with the reason', async () => {
    const open = probe({ keepsCache: 'unknown', answersResalted: 'unknown', why: 'too close to see a hit' })
    expect(await codes(with_('cold', open))).toEqual(['cache: note'])
    expect(await said(with_('cold', open))).toContain('too close')
    expect(await codes(with_('cold', null))).toEqual(['cache: note'])
    expect(await codes(with_('warm', warm))).toEqual(['cache: note'])
    expect(await codes(with_('as-is', null))).toEqual([])
  })
  it('its own counters decide where it has them', async () => {
    const counted = (cache: string, lookedUp: number, found: number): Change => ({
      ...with_(cache, null),
      block: { cacheCheck: { counters: { lookedUp, found }, before: null, after: null } },
    })
    expect(await codes(counted('cold', 1000, 2))).toEqual([])
    expect(await codes(counted('cold', 1000, 300))).toEqual(['cache: invalid'])
    expect(await codes(counted('warm', 1000, 950))).toEqual([])
    expect(await codes(counted('warm', 0, 0))).toEqual(['cache: invalid'])
  })
  it('one that reports hits when there are any, and none in the run, had none', async () => {
    const reports = { ...warm, reportsCachedTokens: true }
    expect(await codes(with_('cold', reports))).toEqual([])
    expect(await codes(with_('warm', reports))).toEqual(['cache: invalid'])
  })
})
