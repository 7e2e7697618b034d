import { Failure } from '../failure.js'
import { type CalibrationReport, calibrate } from '../load/calibrate.js'
import type { RequestCeiling } from '../load/request-ceiling.js'
import type { StoredCeiling } from '../result/server-view.js'
import { parseTarget, probeTarget } from '../target.js'
import { calibrationKey, storeCalibration } from './run-calibration.js'
import { targetCeiling } from './run-ceiling.js'

export interface CalibrateOptions {
  concurrency: number
  /** Base URL with /v1. */
  target?: string
  /** Seconds. */
  requestCeiling: number
  apiKeyEnv: string
  json?: boolean
}

/**
 * `bench calibrate`: what the client itself adds to TTFT and ITL on this machine, at a concurrency, and how many whole requests/s it passes
 * against a server that does nothing - and against a target, when one is given. What was found is kept for later runs with as many streams
 * (bench run asks for powers of two).
 */
export async function calibrateCommand(options: CalibrateOptions): Promise<void> {
  const { concurrency, requestCeiling: durationSecs } = options
  const report = await calibrate({ concurrency, requestCeilingSecs: durationSecs })
  if (report.requestsOk === report.requests) storeCalibration(calibrationKey(concurrency, null), report)
  const target =
    options.target === undefined
      ? null
      : await ceilingOf(options.target, process.env[options.apiKeyEnv] ?? null, {
          connections: concurrency,
          durationSecs,
        })
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ ...report, targetCeiling: target }, null, 2)}\n`
      : render(report) + renderCeilings(report, target),
  )
}

async function ceilingOf(
  text: string,
  apiKey: string | null,
  load: { connections: number; durationSecs: number },
): Promise<StoredCeiling> {
  const spec = parseTarget(text)
  if (spec.kind !== 'external')
    throw new Failure(
      'usage',
      `--target ${text} is not a URL`,
      'start it with bench serve and give its base URL: http://...:PORT/v1',
    )
  const { model } = await probeTarget(spec, apiKey)
  return targetCeiling({ name: spec.name, baseUrl: spec.baseUrl, model }, apiKey, load)
}

function renderCeilings(
  { requestCeiling: none, concurrency }: CalibrationReport,
  target: StoredCeiling | null,
): string {
  const line = (name: string, ceiling: RequestCeiling) =>
    `  ${name.padEnd(24)} ${ceiling.requestsPerSecond.toFixed(0)} requests/s, p50 ${ceiling.latencyP50Ms} ms, p99 ${ceiling.latencyP99Ms} ms` +
    `${ceiling.failures > 0 ? `, ${ceiling.failures} failed` : ''}\n`
  return (
    `whole, non-streamed requests of one token, ${concurrency} connections (autocannon):\n` +
    (none === null ? '' : line('null server', none)) +
    (target === null ? '' : line(target.target!, target))
  )
}

function render(report: CalibrationReport): string {
  const line = (name: string, added: [number, number], error: { p50: number | null; p99: number | null }) =>
    `${name.padEnd(5)} the client adds p50 ${milliseconds(added[0])}, p99 ${milliseconds(added[1])}` +
    ` (observed - programmed: p50 ${milliseconds(error.p50)}, p99 ${milliseconds(error.p99)})\n`
  const { schedule, health } = report
  const worst = health.reduce((most, worker) => Math.max(most, worker.eventLoopDelayP99Ms), 0)
  return (
    `null server: first token after ${schedule.ttftMs} ms, then one every ${schedule.itlMs} ms, ${report.concurrency} streams, ` +
    `${report.requestsOk} of ${report.requests} requests\n` +
    line('TTFT', [report.ttftAddedMsP50, report.ttftAddedMsP99], report.ttftErrorMs) +
    line('ITL', [report.itlAddedMsP50, report.itlAddedMsP99], report.itlErrorMs) +
    `received ${report.tokensPerSecond?.toFixed(0) ?? '-'} tokens/s; event-loop delay p99 ${worst.toFixed(1)} ms\n`
  )
}

function milliseconds(value: number | null): string {
  return value === null ? '-' : `${value.toFixed(3)} ms`
}
