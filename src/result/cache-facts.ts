import type { Scenario } from '../scenario/types.js'
import type { BlockFacts } from '../statistics/validity.js'
import type { BlockManifest, BlockMetrics, CacheProbe, RequestRecord, TargetInfo } from './schema.js'

type CacheFacts = Pick<BlockFacts, 'cachedShare' | 'expectedCachedShare' | 'cacheContradiction' | 'cacheUnknown'>

/**
 * What is known of the prefix cache in one block: cached tokens as the server reported them with its answers, else its /metrics counters, else what
 * probe pairs around the block say.
 */
export function cacheFacts(
  block: BlockManifest,
  scenario: Scenario,
  measured: readonly RequestRecord[],
  metrics: BlockMetrics,
  target: TargetInfo,
): CacheFacts {
  const cachedShare = cachedShareOf(block, metrics)
  const facts = { cachedShare, expectedCachedShare: expectedCachedShare(scenario, measured, target) }
  const probes = [block.cacheCheck?.before ?? null, block.cacheCheck?.after ?? null].filter((probe) => probe !== null)
  const told = cachedShare !== null || target.kind === 'builtin'
  return {
    ...facts,
    cacheContradiction: told ? null : contradiction(scenario.cache, probes),
    cacheUnknown: told ? null : unknown(scenario.cache, probes),
  }
}

/** By the server's own word. A server that reported cached tokens for a probe's repeated prompt and none in the run had none in the run. */
function cachedShareOf(block: BlockManifest, metrics: BlockMetrics): number | null {
  if (metrics.cachedTokens !== null)
    return metrics.promptTokens === 0 ? null : metrics.cachedTokens / metrics.promptTokens
  const check = block.cacheCheck ?? null
  if (check?.before?.reportsCachedTokens) return 0
  if (!check?.counters) return null
  const { lookedUp, found } = check.counters
  return lookedUp === 0 ? 0 : found / lookedUp
}

function contradiction(policy: Scenario['cache'], probes: readonly CacheProbe[]): string | null {
  if (policy === 'cold') {
    const probe = probes.find((one) => one.answersResalted === 'yes')
    return probe === undefined
      ? null
      : `a prompt sent again under another salt came in ${times(probe, probe.resaltedMs)}: the cache answers salted prompts`
  }
  const probe = probes.find((one) => one.keepsCache === 'no')
  return probe === undefined || policy === 'as-is'
    ? null
    : `a prompt sent again unchanged took ${times(probe, probe.againMs)}: the server keeps no prefix cache`
}

function unknown(policy: Scenario['cache'], probes: readonly CacheProbe[]): string | null {
  if (probes.length === 0) return 'the server reports no cached tokens, and no probe was made'
  const unsure = probes.find((probe) => (policy === 'cold' ? probe.answersResalted : probe.keepsCache) === 'unknown')
  if (unsure !== undefined) return `the server reports no cached tokens, and probe pairs leave it open: ${unsure.why}`
  if (policy === 'cold') return null
  return 'the server keeps a prefix cache (probe pairs), but reports no cached tokens: how much of the prompts it held is not told'
}

function times(probe: CacheProbe, ms: number | null): string {
  return `${ms?.toFixed(1)} ms against ${probe.freshMs?.toFixed(1)} ms for a fresh one (medians of ${probe.pairs} pairs of ${probe.promptTokens} tokens)`
}

/** Cold: none. Shared: the declared prefix, in whole blocks, of every request of a group but its first (a warm-up brings those). Else unknown. */
function expectedCachedShare(
  scenario: Scenario,
  measured: readonly RequestRecord[],
  target: TargetInfo,
): number | null {
  if (target.options['enablePrefixCaching'] === false) return null
  if (scenario.cache === 'cold') return scenario.workload.shapes.some((shape) => shape.conversation !== null) ? null : 0
  if (scenario.cache === 'warm') return 1
  if (scenario.cache !== 'shared') return null
  const block = target.blockSize ?? 16
  const prompts = measured.reduce((sum, record) => sum + record.inputTokens, 0)
  const shape = scenario.workload.shapes.find((entry) => entry.prefix !== null)
  if (!shape?.prefix || prompts === 0) return null
  const misses = scenario.load.warmupRequests > 0 ? 0 : shape.prefix.groups
  const hits = Math.max(0, shape.prefix.share * measured.length - misses)
  const cached = Math.floor(shape.prefix.tokens / block) * block * hits
  return cached / prompts
}
