import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { assembleEngine } from './assemble.js'
import { monotonicNs } from './clock.js'
import { asEngineError, checkRoom, openDevice } from './device.js'
import type { EngineLoop } from './loop.js'
import type { Command, Report, WorkerInput } from './messages.js'
import { loadModelWeights, readModelConfig } from './model/model.js'
import { StatsBlock } from './stats-block.js'
import { NO_TRACE, TraceFile, type TraceSink } from './trace.js'

/** Between two turns of this thread's event loop (garbage-collection records arrive there) while there is work. */
const YIELD_NS = 100e6
const MS_NS = 1e6
/** Without work for so long the engine checks itself: the walk over every block (4 ms for 200,000) must not delay the next request. */
const IDLE_CHECK_MS = 20

const port = parentPort!
const input = workerData as WorkerInput
const doorbell = new Int32Array(input.doorbell)

/** The engine's thread: loads the model, then turns the loop until it is told to close. Sleeps when there is nothing to do. */
async function main(): Promise<void> {
  const { options, source } = input
  const trace = options.stepTrace === null ? NO_TRACE : new TraceFile(options.stepTrace)
  try {
    const kernels = await openDevice(options, progress)
    progress(`loading ${source.id} (${kernels.info.backend}, ${kernels.info.dtype})`)
    const config = readModelConfig(source)
    checkRoom(kernels, { id: source.id, config }, options.gpuMemoryUtilization)
    const model = { id: source.id, config, weights: loadModelWeights(kernels, source) }
    const stats = new StatsBlock(input.stats)
    const { loop, info, destroy } = assembleEngine(kernels, model, options, { stats, trace, send: report, progress })
    report({ kind: 'ready', info })
    await turn(loop, trace)
    destroy()
    model.weights.free()
    kernels.destroy()
  } catch (error) {
    const { code, message } = asEngineError(error)
    report({ kind: 'dead', code, detail: message })
    process.exitCode = 1
  } finally {
    trace.close()
  }
}

async function turn(loop: EngineLoop, trace: TraceSink): Promise<void> {
  let yieldedNs = monotonicNs()
  let checked = false
  for (;;) {
    const rings = Atomics.load(doorbell, 0)
    if (!obey(loop)) return
    const worked = loop.turn()
    const nowNs = monotonicNs()
    trace.tick(nowNs)
    if (worked) checked = false
    if (!worked || nowNs - yieldedNs > YIELD_NS) {
      await new Promise((resolve) => setImmediate(resolve))
      yieldedNs = nowNs
    }
    if (!worked && sleep(loop, trace, rings, checked) && !loop.busy) {
      checkIdle(loop)
      checked = true
    }
  }
}

/** Carries out every command that has arrived; false: close. */
function obey(loop: EngineLoop): boolean {
  for (;;) {
    const received = receiveMessageOnPort(port) as { message: Command } | undefined
    if (received === undefined) return true
    const command = received.message
    if (command.kind === 'close') return false
    if (command.kind === 'abort') loop.abort(command.id)
    else loop.submit(command.handle, { ...command.request, promptTokenIds: Array.from(command.prompt) })
  }
}

/** Until the doorbell rings again, a batch that is being gathered is due, or, unless `checked`, a check is (then true). */
function sleep(loop: EngineLoop, trace: TraceSink, rings: number, checked: boolean): boolean {
  const waitNs = loop.engine.nextWorkInNs(monotonicNs())
  if (waitNs === 0) return false
  trace.tick(Number.POSITIVE_INFINITY)
  const waitMs = waitNs / MS_NS
  const timedOut = Atomics.wait(doorbell, 0, rings, checked ? waitMs : Math.min(waitMs, IDLE_CHECK_MS)) === 'timed-out'
  return timedOut && !checked && waitMs > IDLE_CHECK_MS
}

function checkIdle(loop: EngineLoop): void {
  let finding = ''
  try {
    loop.engine.checkIntegrity()
  } catch (error) {
    finding = (error as Error).message
  }
  report({ kind: 'integrity', finding })
}

function progress(detail: string): void {
  report({ kind: 'progress', detail })
}

function report(message: Report): void {
  port.postMessage(message)
}

await main()
