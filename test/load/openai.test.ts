import { describe, expect, it } from 'vitest'
import { apiPath, requestBody } from '../../src/load/openai.js'
import { saltedPrompts } from '../../src/load/salt.js'
import { loadScenario } from '../../src/scenario/load.js'
import { makePlan } from '../../src/scenario/plan.js'
import type { CachePolicy } from '../../src/scenario/types.js'

const ids = { api: 'completions', model: 'm', returnTokenIds: true, continuousUsage: false } as const

async function bodies(cache: CachePolicy, salt: string, extra: { source?: string; prompt?: 'text' } = {}) {
  const { source = 'chat-cpu', prompt } = extra
  const scenario = loadScenario({ source, overrides: { cache, requests: 12, ...(prompt ? { prompt } : {}) } })
  const plan = await makePlan(scenario, { vocabSize: 32_000 })
  const prompts = saltedPrompts(plan.rows, cache, salt)
  return { plan, sent: plan.rows.map((row) => JSON.parse(requestBody(row, prompts(row), scenario, ids))) }
}

describe('request bodies', () => {
  it('ask for exactly the planned work, streamed, with usage', async () => {
    const { plan, sent } = await bodies('as-is', 's')
    expect(sent[0]).toEqual({
      model: 'm',
      prompt: plan.rows[0]!.promptIds,
      max_tokens: plan.rows[0]!.outputTokens,
      temperature: 0,
      seed: 7,
      stream: true,
      stream_options: { include_usage: true },
      ignore_eos: true,
      return_token_ids: true,
    })
  })

  it('are salted under cold: every prompt another front, lengths as planned, new with each salt, the plan hash the same', async () => {
    const [first, second, again] = [await bodies('cold', 'a'), await bodies('cold', 'b'), await bodies('cold', 'a')]
    expect(first.sent.every((body) => body.prompt.every(Number.isInteger))).toBe(true)
    expect(second.plan.hash).toBe(first.plan.hash)
    expect(again.sent).toEqual(first.sent)
    const fronts = [...first.sent, ...second.sent].map((body) => body.prompt.slice(0, 4).join())
    expect(new Set(fronts).size).toBe(fronts.length)
    for (const [index, body] of first.sent.entries()) {
      expect(body.prompt).toHaveLength(first.plan.rows[index]!.inputTokens)
      expect(body.prompt.slice(8)).toEqual(first.plan.rows[index]!.promptIds!.slice(8))
    }
  })

  it('keep shared prefixes shared under shared, with one salt a run', async () => {
    const { plan, sent } = await bodies('shared', 'a', { source: 'shared-prefix' })
    const other = await bodies('shared', 'b', { source: 'shared-prefix' })
    const members = plan.rows.filter((row) => row.prefixGroup === plan.rows[0]!.prefixGroup)
    expect(new Set(members.map((row) => sent[row.index].prompt.slice(0, 1024).join())).size).toBe(1)
    expect(other.sent[0].prompt.slice(0, 8)).not.toEqual(sent[0].prompt.slice(0, 8))
  })

  it('share a salt between the turns of a conversation, so that the history stays a prefix', async () => {
    const { plan, sent } = await bodies('cold', 'a', { source: 'conversation' })
    const [first, second] = plan.rows.filter((row) => row.conversation === 0)
    expect(sent[second!.index].prompt.slice(0, first!.inputTokens)).toEqual(sent[first!.index].prompt)
  })

  it('put text into messages for chat, and refuse token ids there', async () => {
    const scenario = loadScenario({ source: 'smoke', overrides: { prompt: 'text', cache: 'as-is' } })
    const plan = await makePlan(scenario, { vocabSize: null })
    const options = { ...ids, api: 'chat', returnTokenIds: false } as const
    expect(apiPath('chat')).toBe('chat/completions')
    const body = JSON.parse(requestBody(plan.rows[0]!, plan.rows[0]!.prompt!, scenario, options))
    expect(body.messages).toEqual([{ role: 'user', content: plan.rows[0]!.prompt }])
    expect(body).not.toHaveProperty('prompt')
    expect(() => requestBody(plan.rows[0]!, [1, 2], scenario, options)).toThrow(/takes text, not token ids/)
  })
})
