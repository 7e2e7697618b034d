import { freemem } from 'node:os'
import type { Kernels } from '../kernels/binding.js'
import { EngineError } from './engine-error.js'
import type { EngineOptions } from './options.js'

const CPU_DEFAULT_BYTES = 2 * 2 ** 30
const CPU_FREE_SHARE = 1 / 4

/**
 * Blocks that sequences may use; the dummy block comes on top. --kv-cache-bytes buys exactly what it says; else on CUDA what
 * --gpu-memory-utilization leaves after everything else was allocated and the largest step was run once, and on a CPU a quarter of
 * the free memory, at most 2 GiB. Throws EngineError kv-memory-short when not one block fits.
 */
export function cacheBlocks(
  kernels: Kernels,
  options: Pick<EngineOptions, 'kvCacheBytes' | 'gpuMemoryUtilization'>,
  blockBytes: number,
): number {
  const bytes = options.kvCacheBytes ?? spareBytes(kernels, options.gpuMemoryUtilization, blockBytes)
  const blocks = Math.floor(bytes / blockBytes)
  if (blocks >= 1) return blocks
  throw new EngineError(
    'kv-memory-short',
    `${megabytes(bytes)} for the KV cache; one block takes ${megabytes(blockBytes)}. Lower --max-model-len or --max-num-batched-tokens, or give more memory`,
  )
}

function spareBytes(kernels: Kernels, utilization: number, blockBytes: number): number {
  if (kernels.info.backend === 'cpu') return Math.min(CPU_DEFAULT_BYTES, freemem() * CPU_FREE_SHARE)
  const { freeBytes, totalBytes } = kernels.memory()
  return Math.max(0, totalBytes * utilization - (totalBytes - freeBytes) - blockBytes)
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`
}
