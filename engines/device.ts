import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type DeviceOptions, KernelError, Kernels } from '../kernels/binding.js'
import { buildKernels, KernelBuildError } from '../kernels/build.js'
import { EngineError } from './engine-error.js'
import { cacheDirectory } from './model/cache.js'
import type { ModelConfig } from './model/config.js'
import { ModelError } from './model/errors.js'
import { PRESETS } from './model/presets.js'
import { parameterCount } from './model/sizes.js'
import type { EngineOptions } from './options.js'

/**
 * Builds or finds the kernel libraries and opens the asked backend; 'auto' is CUDA where it can be opened. Throws EngineError
 * kernels-missing, KernelError (no device, driver too old) or KernelBuildError.
 */
export async function openDevice(options: EngineOptions, progress: (line: string) => void): Promise<Kernels> {
  const built = await buildKernels({ progress, ...(options.backend === 'cpu' ? { cuda: false } : {}) })
  if (options.backend === 'cpu') return new Kernels(built.cpu, deviceOptions(options))
  if (built.cuda === null) {
    if (options.backend === 'auto') return new Kernels(built.cpu, deviceOptions(options))
    throw new EngineError('kernels-missing', `no CUDA kernels: ${built.cudaReason}`)
  }
  try {
    return new Kernels(built.cuda, { ...deviceOptions(options), matmul_choices: choicesFile(options.kernelChoices) })
  } catch (error) {
    if (options.backend === 'cuda' || !(error instanceof KernelError) || error.code !== 'KN_NO_DEVICE') throw error
    progress(`no usable GPU (${error.message}); the CPU kernels serve instead`)
    return new Kernels(built.cpu, deviceOptions(options))
  }
}

/**
 * Throws EngineError device-memory-short, naming what would fit, when the weights alone are more than --gpu-memory-utilization allows.
 * Host memory is not checked: a CPU swaps or is told by the kernel library.
 */
export function checkRoom(kernels: Kernels, model: { id: string; config: ModelConfig }, utilization: number): void {
  if (kernels.info.backend !== 'cuda') return
  const { freeBytes, totalBytes } = kernels.memory()
  const room = Math.max(0, totalBytes * utilization - (totalBytes - freeBytes))
  const weightBytes = (config: ModelConfig) => parameterCount(config) * kernels.info.weightBytes
  if (weightBytes(model.config) <= room) return
  const fitting = Object.entries(PRESETS).filter(([, config]) => weightBytes(config) < room)
  throw new EngineError(
    'device-memory-short',
    `${model.id} has ${gigabytes(weightBytes(model.config))} of weights; ${kernels.info.name} has ${gigabytes(room)} to give ` +
      `(${gigabytes(freeBytes)} of ${gigabytes(totalBytes)} free, --gpu-memory-utilization ${utilization}). ` +
      (fitting.length > 0 ? `These would fit: ${fitting.map(([name]) => name).join(', ')}` : 'Nothing known would fit'),
  )
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`
}

/** Any error of start-up or of a step as the one that crosses the thread. */
export function asEngineError(error: unknown): EngineError {
  if (error instanceof EngineError) return error
  const cause = { cause: error }
  if (error instanceof KernelError) {
    const code = error.code === 'KN_OUT_OF_MEMORY' ? 'device-memory-short' : 'device-failed'
    return new EngineError(code, error.message, cause)
  }
  if (error instanceof ModelError) return new EngineError('model-failed', error.message, cause)
  if (error instanceof KernelBuildError) return new EngineError('kernels-missing', error.message, cause)
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return new EngineError('worker-died', text, cause)
}

/** Where the choices of kernels are kept between starts; '' when they are not. A folder that cannot be made costs only that. */
function choicesFile(kernelChoices: string): string {
  if (kernelChoices === 'none') return ''
  const file = kernelChoices === 'auto' ? join(cacheDirectory(), 'kernel-choices', 'matmul') : kernelChoices
  try {
    mkdirSync(dirname(file), { recursive: true })
    return file
  } catch {
    return ''
  }
}

function deviceOptions({ dtype, deterministic, fault, threads, cublaslt, wgmma }: EngineOptions): DeviceOptions {
  return {
    dtype: dtype === 'auto' ? 'bf16' : dtype,
    deterministic,
    fault,
    threads,
    cublaslt: cublaslt === 'auto' ? '' : cublaslt,
    wgmma,
  }
}
