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
    `${size(bytes)} for the KV cache; one block takes ${size(blockBytes)}. ` +
      (options.kvCacheBytes === null
        ? `Lower --max-model-len, --max-num-seqs or --max-num-batched-tokens, raise --gpu-memory-utilization (${options.gpuMemoryUtilization}), or free memory`
        : `--kv-cache-bytes ${blockBytes} is the least, for one block`),
  )
}

function spareBytes(kernels: Kernels, utilization: number, blockBytes: number): number {
  if (kernels.info.backend === 'cpu') return Math.min(CPU_DEFAULT_BYTES, freemem() * CPU_FREE_SHARE)
  const { freeBytes, totalBytes } = kernels.memory()
  return Math.max(0, totalBytes * utilization - (totalBytes - freeBytes) - blockBytes)
}

function size(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e3).toFixed(1)} kB`
}
