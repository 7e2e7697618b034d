import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkFits, checkPlanFits } from '../../src/scenario/fit.js'
import { loadScenario, type ScenarioOverrides } from '../../src/scenario/load.js'
import { makePlan, planHash } from '../../src/scenario/plan.js'
import { readPlanFile, writePlanFile } from '../../src/scenario/plan-file.js'

const plan = (source: string, overrides: ScenarioOverrides = {}) =>
  makePlan(loadScenario({ source, overrides }), { vocabSize: 49_152 })

function groupBy<T, K>(items: readonly T[], key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item])
  return groups
}

describe('plan', () => {
  it('is equal byte for byte for equal inputs, and differs by seed', async () => {
    const [first, second, other] = [await plan('chat-cpu'), await plan('chat-cpu'), await plan('chat-cpu', { seed: 9 })]
    expect(second).toEqual(first)
    expect(other.hash).not.toBe(first.hash)
    expect(first.hash).toMatch(/^[0-9a-f]{64}$/)
  })

  it('keeps arrivals, lengths and content independent: changing one seed leaves the others as they were', async () => {
    const base = loadScenario({ source: 'chat-cpu', overrides: { rate: 4, requests: 50 } })
    const columns = async (seeds: Partial<typeof base.seeds>) => {
      const { rows } = await makePlan({ ...base, seeds: { ...base.seeds, ...seeds } }, { vocabSize: 49_152 })
      return {
        arrivals: rows.map((row) => row.dueNs),
        lengths: rows.map((row) => [row.inputTokens, row.outputTokens]),
        firstIds: rows.map((row) => row.promptIds![0]),
      }
    }
    const reference = await columns({})
    const moved = { arrivals: await columns({ arrivals: 99 }), lengths: await columns({ lengths: 99 }) }
    const content = await columns({ content: 99 })
    expect(moved.arrivals).toEqual({ ...reference, arrivals: moved.arrivals.arrivals })
    expect(moved.arrivals.arrivals).not.toEqual(reference.arrivals)
    expect(moved.lengths.firstIds).toEqual(reference.firstIds)
    expect(moved.lengths.lengths).not.toEqual(reference.lengths)
    expect(content).toEqual({ ...reference, firstIds: content.firstIds })
    expect(content.firstIds).not.toEqual(reference.firstIds)
  })

  it('does not change the measured phase with the number of warm-up requests', async () => {
    const few = await plan('chat-cpu', { warmupRequests: 2 })
    const many = await plan('chat-cpu', { warmupRequests: 40 })
    const strip = (rows: typeof few.rows) =>
      rows.filter((row) => row.phase === 'measure').map(({ promptIds, outputTokens }) => ({ promptIds, outputTokens }))
    expect(strip(many.rows)).toEqual(strip(few.rows))
  })

  it('plans exact prompt lengths from a range clear of special tokens, and different content in warm-up', async () => {
    const { rows } = await plan('chat-cpu')
    for (const row of rows) {
      expect(row.promptIds).toHaveLength(row.inputTokens)
      expect(Math.min(...row.promptIds!)).toBeGreaterThanOrEqual(1000)
      expect(Math.max(...row.promptIds!)).toBeLessThan(49_152)
    }
    expect(new Set(rows.map((row) => row.promptIds!.slice(0, 8).join())).size).toBe(rows.length)
  })

  it('draws lognormal lengths with the asked mean and spread', async () => {
    const { rows } = await plan('chat', { requests: 4000 })
    const lengths = rows.map((row) => row.outputTokens)
    const mean = lengths.reduce((a, b) => a + b, 0) / lengths.length
    expect(mean).toBeGreaterThan(185)
    expect(mean).toBeLessThan(203)
  })

  it('shares prefixes within a group and nowhere else', async () => {
    const { rows } = await plan('shared-prefix')
    const prefix = (row: (typeof rows)[number]) => row.promptIds!.slice(0, 1024).join()
    const byGroup = groupBy(rows, (row) => row.prefixGroup)
    expect(byGroup.size).toBe(8)
    for (const members of byGroup.values()) expect(new Set(members.map(prefix)).size).toBe(1)
    expect(new Set(rows.map(prefix)).size).toBe(8)
  })

  it('grows a conversation turn by turn on its own history', async () => {
    const { rows } = await plan('conversation')
    const talks = groupBy(rows, (row) => row.conversation)
    for (const turns of talks.values()) {
      for (const [index, row] of turns.entries()) {
        expect(row.turn).toBe(index)
        if (index === 0) continue
        const before = turns[index - 1]!
        expect(row.promptIds!.slice(0, before.inputTokens)).toEqual(before.promptIds)
        expect(row.inputTokens).toBeGreaterThan(before.inputTokens + before.outputTokens)
      }
    }
  })

  it('prints the realised rate beside the asked one and does not rescale', async () => {
    const made = await plan('chat-cpu', { rate: 5, requests: 200 })
    expect(made.askedRate).toBeCloseTo(5, 6)
    expect(made.realisedRate).not.toBeCloseTo(5, 3)
    expect(made.line).toContain('poisson arrivals at 5.000/s, realised')
  })

  it('sends identical content beforehand under cache: warm', async () => {
    const { rows } = await plan('smoke', { cache: 'warm' })
    const ids = (phase: string) => rows.filter((row) => row.phase === phase).map((row) => row.promptIds)
    expect(ids('warmup')).toEqual(ids('measure'))
  })

  it('survives a round trip through a file and refuses a changed one', async () => {
    const { rows, hash } = await plan('smoke')
    const file = join(mkdtempSync(join(tmpdir(), 'plan-')), 'plan.jsonl')
    writePlanFile(file, rows)
    expect(readPlanFile(file)).toEqual(rows)
    expect(planHash(readPlanFile(file))).toBe(hash)
    writeFileSync(file, readFileSync(file, 'utf8').replace('"outputTokens":8', '"outputTokens":9'))
    expect(() => readPlanFile(file)).toThrow(/do not match the hash/)
  })

  it('refuses a scenario that cannot fit the context', async () => {
    const scenario = loadScenario({ source: 'decode' })
    expect(() => checkFits(scenario, 1000)).toThrow(/decode does not fit a context of 1000 tokens/)
    expect(() => checkFits(scenario, 2048)).not.toThrow()
    const { rows } = await plan('chat')
    expect(() => checkPlanFits(rows, 512, 'chat')).toThrow(/requests are too long, the largest \d+ tokens/)
  })
})

describe('text prompts', () => {
  it('count exactly by the tokenizer', async () => {
    // A tokenizer in which words of more than four letters are two tokens.
    const encode = async (text: string) =>
      text.split(' ').flatMap((word) => (word === '' ? [] : word.length > 4 ? [word.length, 1] : [word.length]))
    const scenario = loadScenario({ source: 'chat-cpu', overrides: { prompt: 'text' } })
    const { rows, notes } = await makePlan(scenario, { vocabSize: null, tokenizer: { name: 'test', encode } })
    for (const row of rows) expect(await encode(row.prompt!)).toHaveLength(row.inputTokens)
    expect(notes).toEqual([])
    const without = await makePlan(scenario, { vocabSize: null })
    expect(without.notes[0]).toContain('one word')
  })
})
