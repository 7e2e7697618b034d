import { randomBytes } from 'node:crypto'
import { cpus } from 'node:os'
import { nowNs } from '../clock.js'
import type { RequestRecord, WorkerHealth } from '../result/schema.js'
import { RecordKeeper } from './keeper.js'
import { CLOCK, COUNTER } from './messages.js'
import type { LoadOptions } from './options.js'
import { buildSetups } from './setup.js'
import { LoadWorker } from './thread.js'

export type { LoadOptions, LoadProgress, LoadTarget } from './options.js'

export interface LoadResult {
  /** One for every planned row, by index. */
  records: RequestRecord[]
  health: WorkerHealth[]
  /** When the first measured request was due; null when none was. */
  measureStartNs: number | null
  startNs: number
  endNs: number
  salt: string
  notices: string[]
}

/** Time from the last worker's readiness to the first request. */
const START_DELAY_NS = 50e6
const PROGRESS_MS = 250

/** Drives the target once with the whole plan. Never throws for what a server does; every planned row ends in exactly one record. */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const salt = options.salt ?? randomBytes(8).toString('hex')
  const workers = options.workers ?? defaultWorkers(cpus().length)
  const setups = buildSetups(options, workers, salt)
  const counters = new Int32Array(setups[0]!.counters)
  const clock = new BigInt64Array(setups[0]!.clock)
  const keeper = new RecordKeeper(options.plan.rows, options.target.died ?? null, options.onRecord ?? (() => {}))
  const threads = setups.map((setup) => new LoadWorker(setup, keeper))
  const connectErrors = (await Promise.all(threads.map((thread) => thread.ready))).filter((error) => error !== null)
  const startNs = nowNs() + START_DELAY_NS
  if (options.scenario.load.arrival.kind !== 'closed') {
    clock[CLOCK.measureStart] = BigInt(Math.round(startNs + options.plan.measureOffsetNs))
  }
  const stopWatching = watchSignals(options, threads)
  for (const thread of threads) thread.post({ type: 'start', startNs })
  const stopProgress = reportProgress(options, counters, clock, startNs)
  const health = await Promise.all(threads.map((thread) => thread.done))
  stopProgress()
  stopWatching()
  await keeper.finish(unsentReason(options))
  const measureStart = Number(clock[CLOCK.measureStart]!)
  return {
    records: keeper.records(),
    health: health.filter((one): one is WorkerHealth => one !== null),
    measureStartNs: measureStart === 0 ? null : measureStart,
    startNs,
    endNs: nowNs(),
    salt,
    notices: [...new Set(connectErrors)].map((error) => `connections could not be opened beforehand: ${error}`),
  }
}

/** min(4, cores / 4), at least one. */
export function defaultWorkers(cores: number): number {
  return Math.max(1, Math.min(4, Math.floor(cores / 4)))
}

function watchSignals(options: LoadOptions, threads: readonly LoadWorker[]): () => void {
  const stop = (outcome: 'cancelled' | 'target-died', detail: string) => {
    for (const thread of threads) thread.post({ type: 'stop', outcome, detail })
  }
  const cancel = () => stop('cancelled', stopReason(options) ?? 'cancelled while the run was under way')
  const died = () => stop('target-died', String(options.target.died?.reason ?? 'the engine process died'))
  options.signal?.addEventListener('abort', cancel)
  options.target.died?.addEventListener('abort', died)
  if (options.signal?.aborted) cancel()
  if (options.target.died?.aborted) died()
  return () => {
    options.signal?.removeEventListener('abort', cancel)
    options.target.died?.removeEventListener('abort', died)
  }
}

/** A signal aborted with a text is the harness's own stop, for that reason; Ctrl-C has none. */
function stopReason({ signal }: LoadOptions): string | null {
  return typeof signal?.reason === 'string' ? signal.reason : null
}

/** Why rows that no worker sent were not sent. */
function unsentReason(options: LoadOptions): Pick<RequestRecord, 'outcome' | 'detail'> {
  if (options.target.died?.aborted) {
    return { outcome: 'target-died', detail: `not sent: ${options.target.died.reason ?? 'the engine process died'}` }
  }
  const stopped = stopReason(options)
  if (stopped !== null) return { outcome: 'not-sent', detail: `not sent: ${stopped}` }
  if (options.signal?.aborted) return { outcome: 'cancelled', detail: 'not sent: the run was cancelled' }
  return { outcome: 'not-sent', detail: 'not sent: the measured phase reached its time limit' }
}

function reportProgress(options: LoadOptions, counters: Int32Array, clock: BigInt64Array, startNs: number): () => void {
  const { onProgress } = options
  if (onProgress === undefined) return () => {}
  let lastTokens = 0
  let lastNs = startNs
  const report = () => {
    const atNs = nowNs()
    const read = (cell: number) => Atomics.load(counters, cell)
    const tokens = read(COUNTER.tokens)
    const measureStart = Number(Atomics.load(clock, CLOCK.measureStart))
    onProgress({
      planned: options.plan.rows.length,
      sent: read(COUNTER.sent),
      done: read(COUNTER.done),
      failed: read(COUNTER.failed),
      dropped: read(COUNTER.dropped),
      inFlight: read(COUNTER.inFlight),
      tokens,
      tokensPerSecond: atNs > lastNs ? ((tokens - lastTokens) / (atNs - lastNs)) * 1e9 : 0,
      phase: measureStart > 0 && atNs >= measureStart ? 'measure' : 'warmup',
      elapsedSecs: Math.max(0, (atNs - startNs) / 1e9),
    })
    lastTokens = tokens
    lastNs = Math.max(atNs, startNs)
  }
  const timer = setInterval(report, PROGRESS_MS)
  return () => {
    clearInterval(timer)
    report()
  }
}
