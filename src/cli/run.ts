import { join } from 'node:path'
import { chooseDefaultPreset, loadScenario } from '../scenario/load.js'
import { parseTargets } from '../target.js'
import { Interrupt } from './interrupt.js'
import { Progress } from './progress.js'
import { parseRunRequest } from './run-options.js'
import { describePlan, exitCodeOf, printResult } from './run-output.js'
import { planPoint, runPoint } from './run-point.js'
import { prepareMachine } from './run-prepare.js'
import { isSweep, runSweep } from './run-sweep.js'

/** `bench run`: the program. Returns the exit code (0; 3 when the run is INVALID or failed); an interruption is a Failure. */
export async function runCommand(scenarioName: string | null, flags: Record<string, unknown>): Promise<number> {
  const request = parseRunRequest(scenarioName, flags)
  const progress = new Progress(request.quiet)
  const targets = parseTargets(request.targets)
  const machine = await prepareMachine(request, targets, progress)
  const source = request.scenario ?? chooseDefaultPreset(machine.backend)
  const scenario = loadScenario({ source, overrides: request.overrides })
  const setting = { request, targets, machine, progress, directory: request.out ?? defaultDirectory(scenario.name) }
  if (request.dryRun) return describePlan(scenario, await planPoint(scenario, setting), targets)
  const interrupt = new Interrupt(progress)
  if (isSweep(scenario)) return runSweep(scenario, { ...setting, interrupt })
  const { data, summary } = await runPoint(scenario, { ...setting, interrupt })
  printResult(data, summary, request)
  return exitCodeOf(summary, interrupt, setting.directory)
}

/** results/2026-11-22T21-50-03-chat: sorts by time and is a file name. */
function defaultDirectory(name: string): string {
  return join('results', `${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}-${name}`)
}
