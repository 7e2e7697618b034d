import { Failure } from '../failure.js'
import type { TextTokenizer } from '../scenario/tokenizer.js'
import { probeTarget, type TargetSpec } from '../target.js'
import { hasDriver } from '../telemetry/environment.js'
import { runForOutput } from './process.js'
import type { Progress } from './progress.js'
import type { RunRequest } from './run-options.js'

/** What must be known before a plan can be made. */
export interface Machine {
  backend: 'cpu' | 'cuda'
  /** Smallest vocabulary and context among the targets; null: unknown. */
  vocabSize: number | null
  maxModelLen: number | null
  tokenizer: TextTokenizer | null
  /** Said loudly in the report: a fallback model, a missing GPU library. */
  notices: string[]
}

/** Builds the kernels, finds the model of the built-in engines and asks external servers what they serve. */
export async function prepareMachine(
  request: RunRequest,
  targets: readonly TargetSpec[],
  progress: Progress,
): Promise<Machine> {
  const builtin = targets.filter((target) => target.kind === 'builtin')
  const external = targets.filter((target) => target.kind === 'external')
  const machine: Machine = {
    backend: backendOf(request),
    vocabSize: null,
    maxModelLen: null,
    tokenizer: null,
    notices: [],
  }
  if (builtin.length > 0) {
    progress.phase('kernels and model')
    await runForOutput('kernelBuild', machine.backend === 'cuda' ? ['--cuda'] : [])
    const model = await describeModel(request, machine.backend)
    machine.vocabSize = model.vocabSize
    machine.maxModelLen = askedContext(request) ?? model.maxModelLen
    if (model.notice) machine.notices.push(model.notice)
  }
  for (const target of external) {
    progress.phase(`asking ${target.name} what it serves`)
    const seen = await probeTarget(target, request.apiKey)
    machine.maxModelLen = smaller(machine.maxModelLen, seen.maxModelLen)
    machine.vocabSize = smaller(machine.vocabSize, seen.vocabSize)
  }
  return machine
}

function backendOf(request: RunRequest): 'cpu' | 'cuda' {
  const at = request.engineArgs.indexOf('--backend')
  const asked = at < 0 ? 'auto' : request.engineArgs[at + 1]
  if (asked === 'cpu' || asked === 'cuda') return asked
  if (asked !== 'auto') throw new Failure('usage', `--backend ${asked}`, 'auto, cpu or cuda')
  return hasDriver() ? 'cuda' : 'cpu'
}

function askedContext(request: RunRequest): number | null {
  const at = request.engineArgs.indexOf('--max-model-len')
  return at < 0 ? null : Number(request.engineArgs[at + 1])
}

async function describeModel(
  request: RunRequest,
  backend: string,
): Promise<{ vocabSize: number; maxModelLen: number; notice: string | null }> {
  const args = ['show', ...(request.model ? [request.model] : []), '--backend', backend, '--json']
  return JSON.parse(await runForOutput('model', args)) as {
    vocabSize: number
    maxModelLen: number
    notice: string | null
  }
}

function smaller(a: number | null, b: number | null): number | null {
  if (a === null) return b
  return b === null ? a : Math.min(a, b)
}
