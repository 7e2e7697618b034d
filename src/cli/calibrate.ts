import { type CalibrationReport, calibrate } from '../load/calibrate.js'
import { calibrationKey, storeCalibration } from './run-calibration.js'

/**
 * `bench calibrate`: what the client itself adds to TTFT and ITL on this machine, at a concurrency. Kept for later runs with as many streams
 * (bench run asks for powers of two).
 */
export async function calibrateCommand(options: { concurrency: number; json?: boolean }): Promise<void> {
  const report = await calibrate({ concurrency: options.concurrency })
  if (report.requestsOk === report.requests) storeCalibration(calibrationKey(options.concurrency, null), report)
  process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : render(report))
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
