import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { admissionError } from './admission.js'
import type {
  AdmissionError,
  EngineClient,
  EngineHealth,
  EngineInfo,
  EngineStats,
  FinishReason,
  GenerationRequest,
  OutputListener,
  TokenLogprobs,
} from './engine.js'
import { EngineError } from './engine-error.js'
import type { Command, Report, WorkerInput } from './messages.js'
import type { ModelSource } from './model/source.js'
import type { EngineOptions } from './options.js'
import { FINISH_CODES, OUTPUT_INTS, type OutputMessage } from './output-batch.js'
import { StatsBlock } from './stats-block.js'

/** Enough for a step's objects to die young. */
const YOUNG_GENERATION_MB = 64

/** Loads the model in a worker thread; `progress` gets a line per stage. Rejects with EngineError when the engine cannot start. */
export function startEngine(
  options: EngineOptions,
  source: ModelSource,
  progress: (line: string) => void = (line) => process.stderr.write(`engine: ${line}\n`),
): Promise<EngineClient> {
  const stats = new StatsBlock()
  const doorbell = new Int32Array(new SharedArrayBuffer(4))
  const input: WorkerInput = { options, source, stats: stats.buffer, doorbell: doorbell.buffer as SharedArrayBuffer }
  const worker = new Worker(workerPath(), {
    workerData: input,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
  })
  return new Promise((resolve, reject) => {
    const onExit = (code: number) => reject(new EngineError('worker-died', `the engine thread ended (code ${code})`))
    const onError = (error: unknown) => reject(new EngineError('worker-died', String(error), { cause: error }))
    const onReport = (report: Report) => {
      if (report.kind === 'progress') progress(report.detail)
      if (report.kind === 'dead') reject(new EngineError(report.code, report.detail))
      if (report.kind !== 'ready') return
      worker.off('exit', onExit).off('error', onError).off('message', onReport)
      resolve(new WorkerEngine(worker, report.info, stats, doorbell))
    }
    worker.on('exit', onExit).on('error', onError).on('message', onReport)
  })
}

/** A request under way, as the main thread knows it. */
interface Pending {
  id: string
  listener: OutputListener
  arrivalNs: number
}

/** The engine behind its worker thread: commands are posted and a doorbell rung, outputs come once a step. */
export class WorkerEngine implements EngineClient {
  readonly #worker: Worker
  readonly #stats: StatsBlock
  readonly #doorbell: Int32Array
  readonly #pending = new Map<number, Pending>()
  readonly #handles = new Map<string, number>()
  #health: EngineHealth = { state: 'ready' }
  #integrity: string | null = null
  #nextHandle = 0
  #closed: Promise<void> | null = null
  #idleWaiters: (() => void)[] = []

  constructor(
    worker: Worker,
    readonly info: EngineInfo,
    stats: StatsBlock,
    doorbell: Int32Array,
  ) {
    this.#worker = worker
    this.#stats = stats
    this.#doorbell = doorbell
    worker.on('message', (report: Report) => this.#receive(report))
    worker.on('error', (error) => this.#die(String(error)))
    worker.on('exit', (code) => this.#ended(code))
  }

  health(): EngineHealth {
    return this.#health
  }
  stats(): EngineStats {
    return this.#stats.snapshot(this.#integrity)
  }

  submit(request: GenerationRequest, listener: OutputListener): AdmissionError | null {
    const { maxModelLen, kind, kvBlocksTotal, blockSize } = this.info
    const kvCapacityTokens = kind === 'paged' ? kvBlocksTotal * blockSize : maxModelLen
    const refusal = admissionError(request, { maxModelLen, kvCapacityTokens })
    if (refusal !== null) return refusal
    const handle = this.#nextHandle++
    this.#pending.set(handle, { id: request.id, listener, arrivalNs: request.arrivalNs })
    this.#handles.set(request.id, handle)
    const health = this.#health
    if (health.state !== 'ready') {
      const why = health.state === 'dead' ? `the engine is dead: ${health.detail}` : 'the engine is shutting down'
      queueMicrotask(() => this.#end(handle, 'error', why))
      return null
    }
    if (this.#integrity === '') this.#integrity = null /* that was of the time before */
    const { promptTokenIds, ...rest } = request
    this.#post({ kind: 'submit', handle, request: rest, prompt: Int32Array.from(promptTokenIds) })
    return null
  }

  abort(id: string): void {
    if (this.#handles.has(id)) this.#post({ kind: 'abort', id })
  }

  async drain(deadlineMs: number): Promise<void> {
    if (this.#health.state === 'ready') this.#health = { state: 'draining' }
    const deadline = setTimeout(() => {
      for (const { id } of this.#pending.values()) this.abort(id)
    }, deadlineMs)
    while (this.#pending.size > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve))
    clearTimeout(deadline)
  }

  close(): Promise<void> {
    this.#closed ??= this.#shutDown()
    return this.#closed
  }

  async #shutDown(): Promise<void> {
    if (this.#health.state === 'dead') return
    this.#health = { state: 'draining' }
    const ended = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()))
    this.#post({ kind: 'close' })
    await ended
  }

  #post(command: Command): void {
    this.#worker.postMessage(command)
    Atomics.add(this.#doorbell, 0, 1)
    Atomics.notify(this.#doorbell, 0)
  }

  #receive(report: Report): void {
    if (report.kind === 'outputs') this.#deliver(report)
    else if (report.kind === 'integrity') this.#checked(report.finding)
    else if (report.kind === 'dead') this.#die(report.detail)
  }

  /** The first finding stays. That all is sound says nothing of requests which came while it was being said. */
  #checked(finding: string): void {
    if (finding === '' && this.#pending.size > 0) return
    this.#integrity ||= finding
  }

  /** One step's outputs, in the engine's order. */
  #deliver({ ints, logprobs }: OutputMessage): void {
    let nextLogprobs = 0
    for (let index = 0; index * OUTPUT_INTS < ints.length; index++) {
      const at = index * OUTPUT_INTS
      let values: TokenLogprobs[] | null = null
      if (nextLogprobs < logprobs.length && logprobs[nextLogprobs]![0] === index)
        values = [logprobs[nextLogprobs++]![1]]
      const reason = ints[at + 2] === 0 ? null : (FINISH_CODES[ints[at + 2]!] as FinishReason)
      const pending = this.#pending.get(ints[at]!)
      if (pending === undefined) continue
      if (reason !== null) this.#forget(ints[at]!)
      const token = ints[at + 1]!
      const stopToken = ints[at + 3]!
      const queuedUs = ints[at + 5]!
      pending.listener({
        tokenIds: token < 0 ? [] : [token],
        logprobs: values,
        finishReason: reason,
        stopTokenId: stopToken < 0 ? null : stopToken,
        cachedTokens: ints[at + 4]!,
        error: reason === 'error' ? 'the engine refused the request' : null,
        scheduledNs: queuedUs < 0 ? 0 : pending.arrivalNs + queuedUs * 1000,
      })
    }
  }

  #ended(exitCode: number): void {
    if (this.#closed === null || exitCode !== 0) this.#die(`the engine thread ended (code ${exitCode})`)
    for (const handle of [...this.#pending.keys()]) this.#end(handle, 'error', 'the engine was closed')
  }

  /** Every request under way ends now, with an error. */
  #die(detail: string): void {
    if (this.#health.state === 'dead') return
    this.#health = { state: 'dead', detail }
    this.#stats.set('running', 0)
    this.#stats.set('waiting', 0)
    for (const handle of [...this.#pending.keys()]) this.#end(handle, 'error', `the engine has died: ${detail}`)
  }

  #end(handle: number, finishReason: FinishReason, error: string): void {
    const pending = this.#pending.get(handle)
    if (pending === undefined) return
    this.#forget(handle)
    this.#stats.add('error', 1)
    pending.listener({ tokenIds: [], logprobs: null, finishReason, stopTokenId: null, cachedTokens: 0, error })
  }

  #forget(handle: number): void {
    this.#handles.delete(this.#pending.get(handle)!.id)
    this.#pending.delete(handle)
    if (this.#pending.size > 0) return
    for (const resolve of this.#idleWaiters) resolve()
    this.#idleWaiters = []
  }
}

/** Beside this file when compiled; from the sources (tests) the compiled one. */
function workerPath(): string {
  const beside = fileURLToPath(new URL('./worker.js', import.meta.url))
  return existsSync(beside) ? beside : fileURLToPath(new URL('../dist/engines/worker.js', import.meta.url))
}
