import { nowNs } from '../clock.js'
import { Failure } from '../failure.js'
import { type LoadTarget, runLoad } from '../load/generator.js'
import { GrowthWatch } from '../metrics/growth.js'
import type { RunWriter } from '../result/store.js'
import type { Plan } from '../scenario/plan.js'
import type { Scenario } from '../scenario/types.js'
import { engineIntegrity, type RunningTarget, startTarget, type TargetSpec } from '../target.js'
import { startSampler } from '../telemetry/sampler.js'
import type { Progress } from './progress.js'
import { betweenCacheChecks } from './run-cache.js'
import { recordCeiling } from './run-ceiling.js'
import type { RunRequest } from './run-options.js'
import type { Machine } from './run-prepare.js'
import { betweenReadings } from './run-server-metrics.js'

/** One target driven once. */
export interface PlannedBlock {
  index: number
  target: TargetSpec
  repeat: number
  of: number
}

/** Blocks in ABBA order, so that a drift of the machine falls on every target alike: A B, B A, A B, ... */
export function blockOrder(targets: readonly TargetSpec[], repeats: number): PlannedBlock[] {
  const order: PlannedBlock[] = []
  for (let repeat = 0; repeat < repeats; repeat++) {
    const turn = repeat % 2 === 0 ? targets : [...targets].reverse()
    for (const target of turn) order.push({ index: order.length, target, repeat, of: targets.length * repeats })
  }
  return order
}

export interface BlockInput extends PlannedBlock {
  run: RunWriter
  scenario: Scenario
  plan: Plan
  request: RunRequest
  machine: Machine
  progress: Progress
  signal: AbortSignal
}

const TELEMETRY_PERIOD_MS = 100

/** Start the target, sample telemetry, send the plan, journal every record; whatever happens, the block ends with a status and a reason. */
export async function driveBlock(input: BlockInput): Promise<void> {
  const { run, progress, target: spec } = input
  const atMost = input.scenario.repeats.untilCi95 === null ? '' : 'at most '
  progress.phase(`block ${input.index + 1} of ${atMost}${input.of}: ${spec.name}`)
  const block = run.openBlock({ index: input.index, target: spec.name, repeat: input.repeat, startNs: nowNs() })
  let target: RunningTarget | null = null
  let measureStartNs: number | null = null
  try {
    target = await startTarget(spec, {
      model: input.machine.model,
      engineArgs: input.request.engineArgs,
      concurrency: input.scenario.load.arrival.kind === 'closed' ? input.scenario.load.arrival.concurrency : null,
      apiKey: input.request.apiKey,
      stepTrace: block.stepTracePath,
      onProgress: (line) => progress.update(`${spec.name}: ${line}`),
      signal: input.signal,
    })
    rememberTarget(run, target)
    const running = target
    const { apiKey } = input.request
    const drive = () => betweenReadings(running, apiKey, block.path, () => driveLoad(input, running, block))
    const driven = await betweenCacheChecks(input, running.info, loadTarget(input, running), drive)
    const { load, stoppedEarly } = driven.result
    measureStartNs = load.measureStartNs
    block.writeHealth(load.health)
    const died = target.died.aborted ? String(target.died.reason) : null
    const reason = died ?? (input.signal.aborted ? 'stopped by Ctrl-C' : null)
    if (reason === null) await recordCeiling(run, target, apiKey, ceilingLoad(input))
    const integrity = died !== null ? null : await engineIntegrity(target, apiKey)
    await target.stop()
    block.end(
      died !== null ? 'failed' : reason !== null ? 'partial' : 'complete',
      { endNs: nowNs(), measureStartNs },
      reason,
      { engineIntegrity: integrity, cacheCheck: driven.cacheCheck, stoppedEarly },
    )
  } catch (error) {
    await target?.stop()
    const reason = error instanceof Error ? error.message : String(error)
    block.end(input.signal.aborted ? 'partial' : 'failed', { endNs: nowNs(), measureStartNs }, reason)
    if (error instanceof Failure && (error.code === 'disk' || error.exitCode === 2)) throw error
    if (run.manifest.targets.length === 0 && !input.signal.aborted) throw error
    progress.warn(`${spec.name}: ${reason}`)
  }
}

async function driveLoad(
  input: BlockInput,
  target: RunningTarget,
  block: ReturnType<RunWriter['openBlock']>,
): Promise<{ load: Awaited<ReturnType<typeof runLoad>>; stoppedEarly: string | null }> {
  const growth = input.scenario.load.stopWhenGrowing ? new GrowthWatch() : null
  const early = new AbortController()
  const sampler = await startSampler(
    {
      pid: target.pid,
      uuid: target.gpuUuid,
      pciBusId: null,
      gpu: target.info.backend !== 'cpu',
      periodMs: TELEMETRY_PERIOD_MS,
    },
    (samples) => {
      for (const sample of samples) block.writeTelemetry(sample)
    },
  )
  try {
    const load = await runLoad({
      plan: input.plan,
      scenario: input.scenario,
      target: loadTarget(input, target),
      ...(input.request.loadWorkers === null ? {} : { workers: input.request.loadWorkers }),
      keepOutput: input.request.keepOutput,
      // One salt a repeat: every target gets the same bytes, so that greedy answers can be compared; a repeat gets new ones.
      salt: `${input.run.manifest.id}/${input.repeat}`,
      signal: AbortSignal.any([input.signal, early.signal]),
      onRecord: (record) => {
        block.writeRecord(record)
        if (record.sentNs !== null && record.doneNs !== null) growth?.addStay((record.doneNs - record.sentNs) / 1e9)
      },
      onProgress: (state) => {
        input.progress.update(
          `${input.target.name}: ${state.phase}, ${state.done}/${state.planned} requests, ${state.inFlight} in flight, ` +
            `${state.tokensPerSecond.toFixed(0)} tok/s${state.failed > 0 ? `, ${state.failed} failed` : ''}`,
        )
        const stop = state.phase === 'measure' ? (growth?.add(state.elapsedSecs, state.inFlight) ?? null) : null
        if (stop === null || early.signal.aborted) return
        early.abort(stop)
        input.progress.phase(`${input.target.name}: ${stop}`)
      },
    })
    return { load, stoppedEarly: early.signal.aborted ? String(early.signal.reason) : null }
  } finally {
    const { info } = await sampler.stop()
    input.run.updateManifest({ telemetry: info })
  }
}

function loadTarget(input: BlockInput, target: RunningTarget): LoadTarget {
  const builtin = target.info.kind === 'builtin'
  return {
    baseUrl: target.baseUrl,
    apiKey: input.request.apiKey,
    api: builtin ? 'completions' : input.request.api,
    model: target.info.model,
    returnTokenIds: builtin,
    died: target.died,
  }
}

/** With as many connections as the load has streams; an open loop has no number of its own. */
function ceilingLoad({ scenario, request }: BlockInput): { connections: number; durationSecs: number | null } {
  const { arrival } = scenario.load
  return {
    connections: arrival.kind === 'closed' ? arrival.concurrency : 16,
    durationSecs: request.requestCeilingSecs,
  }
}

/** The target's description, once; a later block of the same target keeps the first. */
function rememberTarget(run: RunWriter, target: RunningTarget): void {
  const known = run.manifest.targets.some((entry) => entry.name === target.info.name)
  if (!known) run.updateManifest({ targets: [...run.manifest.targets, target.info] })
}
