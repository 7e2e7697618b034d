import { basename } from 'node:path'
import { nowNs } from '../clock.js'
import { Failure } from '../failure.js'
import { type RunData, readRun } from '../result/read.js'
import { type Calibration, RESULT_SCHEMA, type RunManifest, type Summary } from '../result/schema.js'
import { createRun } from '../result/store.js'
import { summarize } from '../result/summarize.js'
import { checkPlanFits } from '../scenario/fit.js'
import { makePlan, type Plan } from '../scenario/plan.js'
import { writePlanFile } from '../scenario/plan-file.js'
import type { Scenario } from '../scenario/types.js'
import type { TargetSpec } from '../target.js'
import { readEnvironment } from '../telemetry/environment.js'
import type { Interrupt } from './interrupt.js'
import { measureCeilings } from './kernels.js'
import type { Progress } from './progress.js'
import { calibrationKey, calibrationStreams, measureCalibration, storedCalibration } from './run-calibration.js'
import type { RunRequest } from './run-options.js'
import { writeReports } from './run-output.js'
import type { Machine } from './run-prepare.js'
import { driveRepeats } from './run-repeats.js'
import { findTokenizer } from './run-tokenizer.js'

/** What every point of a run shares. */
export interface RunSetting {
  request: RunRequest
  targets: readonly TargetSpec[]
  machine: Machine
  progress: Progress
  /** Folder of the run's files; created. */
  directory: string
}

/** The plan of one load, checked against the targets' context, exported when asked. */
export async function planPoint(scenario: Scenario, { machine, request, targets }: RunSetting): Promise<Plan> {
  if (scenario.workload.prompt === 'text') machine.tokenizer ??= await findTokenizer(targets, machine.model, request)
  const tokenizer = machine.tokenizer ? { tokenizer: machine.tokenizer } : {}
  const plan = await makePlan(scenario, { vocabSize: machine.vocabSize, ...tokenizer })
  if (machine.maxModelLen !== null) checkPlanFits(plan.rows, machine.maxModelLen, scenario.name)
  if (request.exportPlan !== null) writePlanFile(request.exportPlan, plan.rows)
  return plan
}

/** One load on every target, block by block; measured, summarised, rendered. What was measured survives an interruption. */
export async function runPoint(
  scenario: Scenario,
  setting: RunSetting & { interrupt: Interrupt },
): Promise<{ data: RunData; summary: Summary }> {
  const { request, targets, machine, progress, directory, interrupt } = setting
  const plan = await planPoint(scenario, setting)
  const manifest = await newManifest(scenario, plan, setting)
  if (interrupt.signal.aborted) throw new Failure('interrupted', 'stopped by Ctrl-C before anything was measured')
  const run = createRun(directory, manifest)
  run.writePlan(plan.rows)
  await driveRepeats({ run, scenario, plan, request, machine, progress, signal: interrupt.signal }, targets)
  run.finish()
  progress.phase('computing metrics and rendering the report')
  const data = readRun(directory)
  const summary = summarize(data)
  await writeReports(run, data, summary, request)
  progress.end()
  return { data, summary }
}

async function newManifest(
  scenario: Scenario,
  plan: Plan,
  setting: RunSetting & { interrupt: Interrupt },
): Promise<RunManifest> {
  const { request, machine, progress, directory } = setting
  if (request.ceilings && setting.targets.some((target) => target.kind === 'builtin')) {
    progress.phase('what this machine can do at most (bandwidth, GEMM rate)')
    machine.ceilings ??= await measureCeilings(machine.backend)
  }
  const calibration = request.calibrate ? await calibrationOf(scenario, setting) : null
  const why = request.scenario === null ? ` (chosen because the backend is ${machine.backend})` : ''
  return {
    schema: RESULT_SCHEMA,
    id: basename(directory),
    startedAt: new Date().toISOString(),
    anchorNs: nowNs(),
    command: ['bench', ...process.argv.slice(2)],
    status: 'running',
    scenario: scenario as unknown as Record<string, unknown>,
    // The plan's line begins with the scenario's name.
    scenarioLine: `${scenario.name}${why}${plan.line.slice(scenario.name.length)}`,
    planHash: plan.hash,
    planRequests: plan.rows.length,
    environment: { ...readEnvironment(), ceilings: machine.ceilings },
    targets: [],
    blocks: [],
    telemetry: null,
    calibration,
    notices: [...machine.notices, ...plan.notes],
  }
}

/** What the client adds at this load: of this process, else kept from an earlier run of this machine, else measured now. */
async function calibrationOf(
  scenario: Scenario,
  { request, machine, progress, interrupt }: RunSetting & { interrupt: Interrupt },
): Promise<Calibration | null> {
  const streams = calibrationStreams(scenario)
  const key = calibrationKey(streams, request.loadWorkers)
  const known = machine.calibrations.get(streams) ?? storedCalibration(key)
  if (known === null && !interrupt.signal.aborted) progress.phase(`what the client itself adds (${streams} streams)`)
  const calibration = known ?? (interrupt.signal.aborted ? null : await measureCalibration(key, interrupt.signal))
  if (calibration !== null) machine.calibrations.set(streams, calibration)
  return calibration
}
