import { expect, test } from 'vitest'
import { blockFacts, type FactInput } from '../../src/result/facts.js'
import { loadScenario } from '../../src/scenario/load.js'
import { judgeBlock } from '../../src/statistics/validity.js'
import { fixture } from '../reports/fixture.js'

/** The facts of a simulated block, with a change to what its load workers reported, its manifest or its scenario. */
function facts(
  change: (health: FactInput['data']['health']) => FactInput['data']['health'],
  more: { manifest?: Partial<FactInput['data']['manifest']>; scenario?: FactInput['scenario'] } = {},
) {
  const { run, summary } = fixture({ blocksPerTarget: 1 })
  const data = run.blocks[0]!
  return blockFacts({
    data: { ...data, health: change(data.health), manifest: { ...data.manifest, ...more.manifest } },
    plan: run.plan,
    scenario: more.scenario ?? loadScenario({ source: 'chat-cpu' }),
    target: run.manifest.targets.find((target) => target.name === data.manifest.target)!,
    metrics: summary.blocks[0]!,
    telemetry: null,
    calibration: null,
    steady: { trendPercent: 0, trendOf: null, inFlightGrowing: false },
  })
}

test('a load worker without a stream says nothing of the client', () => {
  const idle = { socketsOpened: 0, eventLoopUtilization: 1, eventLoopDelayP99Ms: 99 }
  const before = facts((health) => health)
  const after = facts((health) => [...health, { ...health[0]!, ...idle }])
  expect(before.eventLoopUtilization).not.toBeNull()
  expect(after.eventLoopUtilization).toBe(before.eventLoopUtilization)
  expect(after.eventLoopDelayP99Ms).toBe(before.eventLoopDelayP99Ms)
})

test('the busiest worker with streams counts', () => {
  expect(
    facts((health) => [...health, { ...health[0]!, socketsOpened: 4, eventLoopUtilization: 0.97 }])
      .eventLoopUtilization,
  ).toBe(0.97)
})

test('what the engine’s own check found makes the block invalid', () => {
  const same: Parameters<typeof facts>[0] = (health) => health
  const codes = (engineIntegrity: string | null) =>
    judgeBlock(facts(same, { manifest: { engineIntegrity } })).reasons.map((reason) => reason.code)
  expect(codes('3 blocks have no owner')).toContain('integrity')
  expect(codes('')).not.toContain('integrity')
  expect(codes(null)).not.toContain('integrity')
})

test('the first request of each prefix group cannot hit, unless a warm-up brought it', () => {
  const shared = loadScenario({ source: 'shared-prefix' })
  const expected = (warmupRequests: number) =>
    facts((health) => health, { scenario: { ...shared, load: { ...shared.load, warmupRequests } } })
      .expectedCachedShare!
  expect(expected(0)).toBeGreaterThan(0)
  expect(expected(0)).toBeLessThan(expected(16))
})
