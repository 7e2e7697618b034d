import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  calibrationKey,
  calibrationStreams,
  measureCalibration,
  storeCalibration,
  storedCalibration,
} from '../../src/cli/run-calibration.js'
import type { CalibrationReport } from '../../src/load/calibrate.js'
import { loadScenario } from '../../src/scenario/load.js'
import { compileSources } from '../load/compiled.js'

const folder = mkdtempSync(join(tmpdir(), 'calibration-'))
let file = ''
let files = 0
beforeAll(compileSources)
beforeEach(() => {
  file = join(folder, `${files++}.json`)
  vi.stubEnv('BENCH_CALIBRATION', file)
})
afterAll(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

const report = (ttftAddedMsP50: number) =>
  ({ ttftAddedMsP50, ttftAddedMsP99: 1, itlAddedMsP50: 0.02, itlAddedMsP99: 0.5 }) as CalibrationReport
const HOUR_MS = 3_600_000

describe('kept calibrations', () => {
  it('hold for the same client on the same machine at as many streams and threads, for six hours', () => {
    const key = calibrationKey(16, 2)
    const atMs = Date.parse('2026-01-02T03:04:05Z')
    expect(storedCalibration(key, atMs)).toBeNull()
    expect(storeCalibration(key, report(0.3), atMs)).toMatchObject({ ttftAddedMsP50: 0.3, reused: false })
    expect(storedCalibration(key, atMs + 5.9 * HOUR_MS)).toEqual({
      ...{ ttftAddedMsP50: 0.3, ttftAddedMsP99: 1, itlAddedMsP50: 0.02, itlAddedMsP99: 0.5 },
      ...{ concurrency: 16, workers: 2, measuredAt: '2026-01-02T03:04:05.000Z', reused: true },
    })
    expect(storedCalibration(key, atMs + 6.1 * HOUR_MS)).toBeNull()
    expect(storedCalibration(key, atMs - HOUR_MS)).toBeNull()
    for (const other of [
      { ...key, concurrency: 32 },
      { ...key, workers: 3 },
      { ...key, node: 'v0' },
      { ...key, host: 'another' },
      { ...key, client: 'changed' },
    ])
      expect(storedCalibration(other, atMs)).toBeNull()
  })
  it('stand beside each other; a newer one replaces its own, an old one goes', () => {
    const key = calibrationKey(16, null)
    storeCalibration({ ...key, concurrency: 1 }, report(9), 0)
    storeCalibration(key, report(0.3), 20 * HOUR_MS)
    storeCalibration({ ...key, concurrency: 64 }, report(0.7), 20 * HOUR_MS)
    storeCalibration(key, report(0.4), 21 * HOUR_MS)
    const { entries } = JSON.parse(readFileSync(file, 'utf8'))
    expect(entries.map((entry: { ttftAddedMsP50: number }) => entry.ttftAddedMsP50)).toEqual([0.7, 0.4])
  })
  it('a file that holds none is named, with the fix', () => {
    writeFileSync(file, '{"schema": "pagedbench/calibration@1", "entries": [{}]}')
    expect(() => storedCalibration(calibrationKey(16, null))).toThrow(
      expect.objectContaining({ code: 'bad-file', message: expect.stringContaining(file), fix: expect.anything() }),
    )
  })
  it('a damaged cache of one’s own is passed over and written anew', () => {
    vi.stubEnv('BENCH_CALIBRATION', '')
    vi.stubEnv('BENCH_CACHE', join(folder, 'cache'))
    const key = calibrationKey(8, null)
    expect(storedCalibration(key)).toBeNull()
    storeCalibration(key, report(0.3))
    const own = join(folder, 'cache', 'calibration.json')
    writeFileSync(own, 'torn {')
    expect(storedCalibration(key)).toBeNull()
    storeCalibration(key, report(0.5))
    expect(storedCalibration(key)).toMatchObject({ ttftAddedMsP50: 0.5 })
  })
})

describe('a calibration for a run', () => {
  it('is made at its concurrency, rounded up to a power of two; at 16 in open loop', () => {
    const streams = (overrides: object) => calibrationStreams(loadScenario({ source: 'smoke', overrides }))
    expect([1, 2, 3, 16, 17, 256].map((concurrency) => streams({ concurrency }))).toEqual([1, 2, 4, 16, 32, 256])
    expect(streams({ rate: 9 })).toBe(16)
  })
  it('is measured in seconds, kept, and found again', async () => {
    const key = calibrationKey(2, 1)
    const startMs = performance.now()
    const made = await measureCalibration(key)
    expect(performance.now() - startMs).toBeLessThan(20_000)
    expect(made!.ttftAddedMsP50).toBeGreaterThan(0)
    expect(made!.ttftAddedMsP50).toBeLessThan(20)
    expect(storedCalibration(key)).toEqual({ ...made, reused: true })
  }, 40_000)
  it('is nothing, and not kept, when it was interrupted', async () => {
    expect(await measureCalibration(calibrationKey(1, 1), AbortSignal.abort())).toBeNull()
    expect(existsSync(file)).toBe(false)
  })
})
