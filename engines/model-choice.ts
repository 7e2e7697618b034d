import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { DEFAULT_MODEL, defaultModel } from './model/default-model.js'
import type { EngineOptions } from './options.js'

const MIB = 2 ** 20

/** The model's name for `--model auto`: by the GPU's memory where one may be used, else the small real model. */
export async function chooseModel({ model, backend }: Pick<EngineOptions, 'model' | 'backend'>): Promise<string> {
  if (model !== 'auto') return model
  if (backend === 'cpu') return DEFAULT_MODEL
  const memoryBytes = await gpuMemoryBytes()
  return memoryBytes === null ? DEFAULT_MODEL : defaultModel('cuda', memoryBytes)
}

/** Of the first GPU; null without one. */
async function gpuMemoryBytes(): Promise<number | null> {
  try {
    const { stdout } = await promisify(execFile)(
      'nvidia-smi',
      ['--query-gpu=memory.total', '--format=csv,noheader,nounits', '--id=0'],
      { timeout: 5000 },
    )
    const mebibytes = Number.parseInt(stdout, 10)
    return mebibytes > 0 ? mebibytes * MIB : null
  } catch {
    return null
  }
}
