import { join } from 'node:path'
import { nowNs } from '../clock.js'
import { Failure } from '../failure.js'
import { readRun } from '../result/read.js'
import type { RunManifest, TargetInfo } from '../result/schema.js'
import { RESULT_SCHEMA } from '../result/schema.js'
import { createRun } from '../result/store.js'
import { summarize } from '../result/summarize.js'
import { checkPlanFits } from '../scenario/fit.js'
import { chooseDefaultPreset, loadScenario } from '../scenario/load.js'
import { makePlan } from '../scenario/plan.js'
import { writePlanFile } from '../scenario/plan-file.js'
import { parseTargets } from '../target.js'
import { readEnvironment } from '../telemetry/environment.js'
import { Interrupt } from './interrupt.js'
import { measureCeilings } from './kernels.js'
import { Progress } from './progress.js'
import { blockOrder, driveBlock } from './run-block.js'
import { parseRunRequest } from './run-options.js'
import { describePlan, printResult, writeReports } from './run-output.js'
import { prepareMachine } from './run-prepare.js'

/** `bench run`: the program. Returns the exit code (0; 3 when the run is INVALID or failed; 130 after Ctrl-C). */
export async function runCommand(scenarioName: string | null, flags: Record<string, unknown>): Promise<number> {
  const request = parseRunRequest(scenarioName, flags)
  const progress = new Progress(request.quiet)
  const targets = parseTargets(request.targets)
  const machine = await prepareMachine(request, targets, progress)
  const scenario = loadScenario({
    source: request.scenario ?? chooseDefaultPreset(machine.backend),
    overrides: request.overrides,
  })
  const plan = await makePlan(scenario, {
    vocabSize: machine.vocabSize,
    ...(machine.tokenizer ? { tokenizer: machine.tokenizer } : {}),
  })
  if (machine.maxModelLen !== null) checkPlanFits(plan.rows, machine.maxModelLen, scenario.name)
  if (request.exportPlan !== null) writePlanFile(request.exportPlan, plan.rows)
  const order = blockOrder(targets, scenario.repeats.max)
  if (request.dryRun) return describePlan(scenario, plan, order)

  const environment = {
    ...readEnvironment(),
    ceilings: request.ceilings ? await measureCeilings(machine.backend) : null,
  }
  const directory = request.out ?? join('results', `${runId()}-${scenario.name}`)
  const run = createRun(directory, newManifest())
  run.writePlan(plan.rows)
  const interrupt = new Interrupt(progress)
  for (const block of order) {
    if (interrupt.signal.aborted) break
    await driveBlock({ ...block, run, scenario, plan, request, machine, progress, signal: interrupt.signal })
  }
  interrupt.close()
  run.finish()
  progress.phase('computing metrics and rendering the report')
  const data = readRun(directory)
  const summary = summarize(data)
  await writeReports(run, data, summary, request)
  printResult(data, summary, request)
  if (interrupt.signal.aborted)
    throw new Failure(
      'interrupted',
      'stopped by Ctrl-C; what was measured is kept and marked partial',
      `bench report ${directory}`,
    )
  return summary.verdict.validity === 'INVALID' ? 3 : 0

  function newManifest(): RunManifest {
    return {
      schema: RESULT_SCHEMA,
      id: directory.split('/').pop()!,
      startedAt: new Date().toISOString(),
      anchorNs: nowNs(),
      command: ['bench', ...process.argv.slice(2)],
      status: 'running',
      scenario: scenario as unknown as Record<string, unknown>,
      scenarioLine: scenarioLine(),
      planHash: plan.hash,
      planRequests: plan.rows.length,
      environment,
      targets: [] as TargetInfo[],
      blocks: [],
      telemetry: null,
      calibration: null,
      notices: [...machine.notices, ...plan.notes],
    }
  }

  function scenarioLine(): string {
    const why = request.scenario === null ? ` (chosen because the backend is ${machine.backend})` : ''
    return `${scenario.name}${why}: ${plan.line}`
  }
}

/** 2026-11-22T21-50-03: sorts by time and is a file name. */
function runId(): string {
  return new Date().toISOString().slice(0, 19).replaceAll(':', '-')
}
