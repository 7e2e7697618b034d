import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { WorkerHealth } from '../result/schema.js'
import type { RecordKeeper } from './keeper.js'
import type { FromWorker, ToWorker, WorkerSetup } from './messages.js'

/** A young generation that is collected seldom: pauses come between reads of a stream. MiB. */
const LIMITS = { maxYoungGenerationSizeMb: 64 }

/** The main thread's side of one load worker. A worker that crashes ends like one that is done, without health: its rows stay unsent. */
export class LoadWorker {
  /** Null, or why connections could not be opened beforehand. */
  readonly ready: Promise<string | null>
  readonly done: Promise<WorkerHealth | null>
  readonly #worker: Worker

  constructor(setup: WorkerSetup, keeper: RecordKeeper) {
    this.#worker = new Worker(workerEntry(), { workerData: setup, execArgv: [], resourceLimits: LIMITS })
    let health: WorkerHealth | null = null
    this.ready = new Promise((resolve) => {
      this.#worker.on('message', (message: FromWorker) => {
        if (message.type === 'ready') resolve(message.connectError)
        else if (message.type === 'records') for (const record of message.records) keeper.add(record)
        else if (message.type === 'dropped') keeper.addDropped(message.index, message.intendedNs)
        else health = message.health
      })
      this.#worker.once('error', (error) => {
        keeper.crashed(`load worker ${setup.worker}: ${error.message}`)
        resolve(error.message)
      })
    })
    this.done = new Promise((resolve) => this.#worker.once('exit', () => resolve(health)))
  }

  post(message: ToWorker): void {
    this.#worker.postMessage(message)
  }
}

/** The compiled entry: beside this file, or in dist/ when this file runs as TypeScript (tests). */
function workerEntry(): URL {
  const here = import.meta.url
  if (!here.endsWith('.ts')) return new URL('./worker.js', here)
  const root = fileURLToPath(new URL('../../', here))
  return new URL(`file://${root}dist/src/load/worker.js`)
}
