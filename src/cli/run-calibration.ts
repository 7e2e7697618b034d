import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, homedir, hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { Failure } from '../failure.js'
import { type CalibrationReport, calibrate } from '../load/calibrate.js'
import { defaultWorkers } from '../load/generator.js'
import type { Calibration } from '../result/schema.js'
import { writeAtomically } from '../result/store.js'
import type { Scenario } from '../scenario/types.js'

/** What a calibration holds for: the same client code on the same machine, as many threads, about as many streams. */
export interface CalibrationKey {
  host: string
  node: string
  /** SHA-256 over the load generator's files and the HTTP library's version. */
  client: string
  workers: number
  /** Streams at once, a power of two. */
  concurrency: number
}

const entryShape = z.object({
  key: z.object({
    host: z.string(),
    node: z.string(),
    client: z.string(),
    workers: z.number(),
    concurrency: z.number(),
  }),
  /** ISO 8601, wall clock: it is compared across processes, in hours. */
  measuredAt: z.iso.datetime(),
  ttftAddedMsP50: z.number(),
  ttftAddedMsP99: z.number(),
  itlAddedMsP50: z.number(),
  itlAddedMsP99: z.number(),
})
const fileShape = z.object({ schema: z.literal('pagedbench/calibration@1'), entries: z.array(entryShape) })
type Entry = z.infer<typeof entryShape>

/** After this long a machine may have another governor, kernel or neighbour. */
const REUSE_HOURS = 6
/** Open loop: how many streams will be in flight is not known beforehand. */
const OPEN_LOOP_STREAMS = 16

/** How many streams a scenario is calibrated for: its concurrency, rounded up to a power of two so that neighbours share a calibration. */
export function calibrationStreams(scenario: Scenario): number {
  const { arrival } = scenario.load
  const streams = arrival.kind === 'closed' ? arrival.concurrency : OPEN_LOOP_STREAMS
  return 2 ** Math.ceil(Math.log2(streams))
}

export function calibrationKey(concurrency: number, workers: number | null): CalibrationKey {
  return {
    host: hostname(),
    node: process.version,
    client: clientVersion(),
    workers: workers ?? defaultWorkers(cpus().length),
    concurrency,
  }
}

/** A calibration made for this key within the last hours, by this run or an earlier one. Throws Failure('bad-file') for a bad BENCH_CALIBRATION. */
export function storedCalibration(key: CalibrationKey, nowMs: number = Date.now()): Calibration | null {
  const entry = readEntries().find((one) => sameKey(one.key, key) && isFresh(one, nowMs))
  return entry === undefined ? null : { ...calibrationOf(entry), reused: true }
}

/** Keeps a calibration for later runs. A cache that cannot be written is no error, unless BENCH_CALIBRATION names it (Failure('disk')). */
export function storeCalibration(
  key: CalibrationKey,
  report: CalibrationReport,
  nowMs: number = Date.now(),
): Calibration {
  const { ttftAddedMsP50, ttftAddedMsP99, itlAddedMsP50, itlAddedMsP99 } = report
  const measuredAt = new Date(nowMs).toISOString()
  const entry: Entry = { key, measuredAt, ttftAddedMsP50, ttftAddedMsP99, itlAddedMsP50, itlAddedMsP99 }
  const kept = readEntries().filter((one) => !sameKey(one.key, key) && isFresh(one, nowMs))
  const text = `${JSON.stringify({ schema: 'pagedbench/calibration@1', entries: [...kept, entry] }, null, 2)}\n`
  try {
    if (given() === null) mkdirSync(dirname(cacheFile()), { recursive: true })
    writeAtomically(cacheFile(), text)
  } catch (error) {
    if (given() !== null) throw error
  }
  return { ...calibrationOf(entry), reused: false }
}

/** Drives the null server for a second to five. Null when it was interrupted or did not answer: then nothing is known of the client. */
export async function measureCalibration(key: CalibrationKey, signal?: AbortSignal): Promise<Calibration | null> {
  const { concurrency, workers } = key
  const requests = Math.max(12, 2 * concurrency, Math.min(64, 8 * concurrency))
  // 10 ms a token up to 64 streams, above it 20: 6,400 and 12,800 tokens/s at 64 and 256, about what a GPU of today gives.
  const schedule = { ttftMs: 50, itlMs: concurrency <= 64 ? 10 : 20, tokensPerFrame: 1 }
  const report = await calibrate({
    ...{ concurrency, workers, requests, schedule, outputTokens: 32 },
    ...(signal ? { signal } : {}),
  })
  if (signal?.aborted || report.requestsOk < requests) return null
  return storeCalibration(key, report)
}

function readEntries(): Entry[] {
  const path = cacheFile()
  if (!existsSync(path)) return []
  try {
    return fileShape.parse(JSON.parse(readFileSync(path, 'utf8'))).entries
  } catch (cause) {
    if (given() === null) return []
    throw new Failure(
      'bad-file',
      `BENCH_CALIBRATION: ${path} holds no calibrations (pagedbench/calibration@1)`,
      'remove the file; the next bench calibrate or bench run writes it',
      { cause },
    )
  }
}

function calibrationOf(entry: Entry): Calibration {
  const { key, ...rest } = entry
  return { ...rest, concurrency: key.concurrency, workers: key.workers }
}

function isFresh(entry: Entry, nowMs: number): boolean {
  const ageHours = (nowMs - Date.parse(entry.measuredAt)) / 3_600_000
  return ageHours >= 0 && ageHours < REUSE_HOURS
}

function sameKey(a: CalibrationKey, b: CalibrationKey): boolean {
  return (
    a.host === b.host &&
    a.node === b.node &&
    a.client === b.client &&
    a.workers === b.workers &&
    a.concurrency === b.concurrency
  )
}

function given(): string | null {
  return process.env['BENCH_CALIBRATION'] || null
}

/** BENCH_CALIBRATION, else beside the models: BENCH_CACHE, XDG_CACHE_HOME/pagedbench or ~/.cache/pagedbench. */
function cacheFile(): string {
  const { BENCH_CACHE, XDG_CACHE_HOME } = process.env
  return (
    given() ?? join(BENCH_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'pagedbench'), 'calibration.json')
  )
}

/** The files of the load generator as they run here, and the HTTP library they use. */
function clientVersion(): string {
  const folder = fileURLToPath(new URL('../load/', import.meta.url))
  const hash = createHash('sha256')
  for (const name of readdirSync(folder)
    .filter((file) => /(?<!\.d)\.(js|ts)$/.test(file))
    .sort())
    hash.update(name).update(readFileSync(join(folder, name)))
  const { version } = createRequire(import.meta.url)('undici/package.json') as { version: string }
  return hash.update(version).digest('hex').slice(0, 16)
}
