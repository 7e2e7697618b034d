import { Failure } from '../failure.js'
import type { Calibration, Environment } from '../result/schema.js'
import type { TextTokenizer } from '../scenario/tokenizer.js'
import { probeTarget, type TargetSpec } from '../target.js'
import { hasDriver } from '../telemetry/environment.js'
import { Nvml } from '../telemetry/nvml.js'
import { runForOutput } from './process.js'
import type { Progress } from './progress.js'
import type { RunRequest } from './run-options.js'

/** What must be known before a plan can be made. */
export interface Machine {
  backend: 'cpu' | 'cuda'
  /** Of the built-in engines; null: their own default. */
  model: string | null
  /** Smallest vocabulary and context among the targets; null: unknown. */
  vocabSize: number | null
  maxModelLen: number | null
  tokenizer: TextTokenizer | null
  /** Said loudly in the report: a fallback model, a missing GPU library. */
  notices: string[]
  /** Measured once per process, before the first point. */
  ceilings: Environment['ceilings']
  /** By streams at once, each measured once per process at most. */
  calibrations: Map<number, Calibration>
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
    model: request.model,
    vocabSize: null,
    maxModelLen: null,
    tokenizer: null,
    notices: [],
    ceilings: null,
    calibrations: new Map(),
  }
  if (builtin.length > 0) {
    progress.phase('kernels and model')
    await runForOutput('kernelBuild', machine.backend === 'cuda' ? ['--cuda'] : [])
    machine.model = request.model ?? defaultModel(machine.backend)
    const model = await describeModel(machine.model)
    machine.vocabSize = model.config.vocabSize
    machine.maxModelLen = askedContext(request) ?? Math.min(model.config.maxPositions, ENGINE_MAX_MODEL_LEN)
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

/** What `bench model show --json` says (engines/model/main.ts). */
interface ModelDescription {
  config: { vocabSize: number; maxPositions: number }
  notice: string | null
}

/** The engines' own default context, tokens, when --max-model-len is not given. */
const ENGINE_MAX_MODEL_LEN = 4096
/** Llama-3-8B in bf16 with room for a KV pool. */
const LLAMA_8B_BYTES = 22e9

/** On a GPU with room Llama-3-8B's dimensions; otherwise what the engines take by themselves (SmolLM2-135M-Instruct, real weights). */
function defaultModel(backend: 'cpu' | 'cuda'): string | null {
  if (backend === 'cpu') return null
  const nvml = Nvml.open()
  const memoryBytes = nvml.identity(nvml.find()).memoryTotalBytes ?? 0
  nvml.close()
  return memoryBytes >= LLAMA_8B_BYTES ? 'llama-3-8b' : null
}

async function describeModel(model: string | null): Promise<ModelDescription> {
  return JSON.parse(
    await runForOutput('model', ['show', ...(model === null ? [] : [model]), '--json']),
  ) as ModelDescription
}

function smaller(a: number | null, b: number | null): number | null {
  if (a === null) return b
  return b === null ? a : Math.min(a, b)
}
