import type { LoadTarget } from '../load/options.js'
import type { CacheCheck, TargetInfo } from '../result/schema.js'
import { closeCacheCheck, openCacheCheck } from '../target.js'
import type { BlockInput } from './run-block.js'

/**
 * Drives the load between two looks at the prefix cache of a server that is not ours; null where nothing is claimed of it (cache: as-is), where the
 * probe is switched off, and for our own engines, which tell it with every answer.
 */
export async function betweenCacheChecks<T>(
  input: BlockInput,
  info: TargetInfo,
  target: LoadTarget,
  drive: () => Promise<T>,
): Promise<{ result: T; cacheCheck: CacheCheck | null }> {
  const { request, scenario, progress } = input
  if (info.kind !== 'external' || scenario.cache === 'as-is' || !request.cacheProbe)
    return { result: await drive(), cacheCheck: null }
  progress.phase(`${info.name}: does it keep a prefix cache?`)
  const open = await openCacheCheck(checkInput(input, info, target, 'before'))
  const result = await drive()
  return { result, cacheCheck: await closeCacheCheck(open, checkInput(input, info, target, 'after')) }
}

function checkInput(input: BlockInput, info: TargetInfo, target: LoadTarget, when: 'before' | 'after') {
  const { machine, run, scenario, signal } = input
  const earlier = run.manifest.blocks.find((block) => block.target === info.name && block.cacheCheck)
  return {
    ...{ target, scenario, signal, maxModelLen: info.maxModelLen, earlier: earlier?.cacheCheck ?? null },
    planOptions: { vocabSize: machine.vocabSize, ...(machine.tokenizer ? { tokenizer: machine.tokenizer } : {}) },
    // The wall clock makes it new even where two runs have one name.
    salt: `${run.manifest.id}/${run.manifest.startedAt}/${input.index}/${when}`,
  }
}
