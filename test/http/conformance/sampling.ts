import { expect, it } from 'vitest'
import { type Api, expectError, type Json } from './api.js'

/** C20-C31: sampling and logprobs. */
export function samplingCases(api: () => Api): void {
  it('C20 gives completion logprobs for 0 and 5, refuses 21', async () => {
    for (const logprobs of [0, 5]) {
      const { json } = await api().complete({ logprobs, ignore_eos: true })
      const got = json.choices[0].logprobs
      expect(Object.keys(got)).toEqual(['tokens', 'token_logprobs', 'top_logprobs', 'text_offset'])
      for (const list of Object.values(got)) expect(list).toHaveLength(8)
      for (const top of got.top_logprobs) {
        // Alternatives whose bytes are no whole character share one key.
        expect(Object.keys(top).length).toBeGreaterThanOrEqual(logprobs === 0 ? 1 : 2)
        expect(Object.keys(top).length).toBeLessThanOrEqual(logprobs + 1)
      }
      for (const logprob of got.token_logprobs) expect(logprob).toBeLessThanOrEqual(0)
      expect(got.text_offset[0]).toBe(0)
    }
    for (const logprobs of [21, -1, true, '1']) expectError(await api().complete({ logprobs }), 400)
  })

  it('C21 refuses top_logprobs without logprobs', async () => {
    expectError(await api().chat({ top_logprobs: 2 }), 400)
    expectError(await api().chat({ top_logprobs: 2, logprobs: false }), 400)
    expectError(await api().chat({ top_logprobs: 21, logprobs: true }), 400)
    expect((await api().chat({ logprobs: true })).json.choices[0].logprobs.content[0].top_logprobs).toEqual([])
  })

  it('C22 gives tokens whose bytes joined are the content, logprobs at most 0', async () => {
    const { json } = await api().chat({ logprobs: true, top_logprobs: 3, max_tokens: 12, ignore_eos: true })
    const [choice] = json.choices
    const entries: Json[] = choice.logprobs.content
    expect(entries).toHaveLength(12)
    expect(Buffer.from(entries.flatMap((entry) => entry.bytes)).toString('utf8')).toBe(choice.message.content)
    for (const entry of entries) {
      expect(entry.logprob).toBeLessThanOrEqual(0)
      expect(entry.top_logprobs).toHaveLength(3)
      for (const top of entry.top_logprobs) expect(Object.keys(top)).toEqual(['token', 'logprob', 'bytes'])
      // Greedy: the sampled token is the likeliest.
      expect(entry.logprob).toBeCloseTo(entry.top_logprobs[0].logprob, 3)
    }
  })

  it('C23 gives n choices with their indices', async () => {
    const { json } = await api().complete({ n: 2, temperature: 1, seed: 3, ignore_eos: true })
    expect(json.choices.map((choice: Json) => choice.index)).toEqual([0, 1])
    expect(json.usage.completion_tokens).toBe(16)
    expect(json.choices[0].text).not.toBe(json.choices[1].text)
  })

  it('C24 refuses an n out of bounds at once', async () => {
    for (const n of [0, -1, 1e6, 17, 1.5]) {
      const started = performance.now()
      expectError(await api().complete({ n }), 400)
      expect(performance.now() - started).toBeLessThan(500)
    }
  })

  it('C25 repeats itself for the same seed, and only for it', async () => {
    const sample = async (seed: number | undefined) =>
      (await api().complete({ temperature: 1, seed, max_tokens: 16, ignore_eos: true })).json.choices[0].text
    expect(await sample(5)).toBe(await sample(5))
    expect(await sample(-5)).toBe(await sample(-5))
    expect(await sample(5)).not.toBe(await sample(6))
    expect(await sample(undefined)).not.toBe(await sample(undefined))
    for (const seed of ['9007199254740993', '9223372036854775807', '-9223372036854775808']) {
      expect((await api().post('/v1/completions', `{"prompt":"a","max_tokens":1,"seed":${seed}}`)).status).toBe(200)
    }
    for (const seed of ['9223372036854775808', '1.5', '"1"', '1e30', 'true']) {
      expectError(await api().post('/v1/completions', `{"prompt":"a","max_tokens":1,"seed":${seed}}`), 400)
    }
  })

  it('C26 takes the likeliest token at temperature 0 and at top_k 1', async () => {
    const text = async (body: object) => (await api().complete({ max_tokens: 16, ...body })).json.choices[0].text
    const greedy = await text({})
    expect(await text({})).toBe(greedy)
    expect(await text({ temperature: 1, top_k: 1 })).toBe(greedy)
  })

  it('C27 bounds the temperature', async () => {
    for (const temperature of [-1, 3, '1', true]) expectError(await api().complete({ temperature }), 400)
    expectError(await api().post('/v1/completions', '{"prompt":"a","temperature":NaN}'), 400, 'invalid_json')
    expect((await api().complete({ temperature: 2 })).status).toBe(200)
  })

  it('C28 bounds top_p, top_k and min_p (top_p 0 keeps no token: refused)', async () => {
    for (const body of [{ top_p: 1 }, { top_p: 0.1 }, { top_k: -1 }, { top_k: 0 }, { top_k: 40 }, { min_p: 0.5 }]) {
      expect((await api().complete({ temperature: 1, ...body })).status).toBe(200)
    }
    for (const body of [{ top_p: 1.1 }, { top_p: 0 }, { top_p: -1 }, { top_k: -2 }, { top_k: 1.5 }, { min_p: 2 }]) {
      expectError(await api().complete(body), 400)
    }
  })

  it('C29 bounds the penalties', async () => {
    for (const name of ['presence_penalty', 'frequency_penalty']) {
      for (const value of [-2, 0, 2]) expect((await api().complete({ [name]: value })).status).toBe(200)
      for (const value of [-2.1, 2.1, 'x']) expectError(await api().complete({ [name]: value }), 400)
    }
    expect((await api().complete({ repetition_penalty: 1.2 })).status).toBe(200)
    for (const repetition_penalty of [0, -1, 3]) expectError(await api().complete({ repetition_penalty }), 400)
  })

  it('C30 generates exactly max_tokens with ignore_eos', async () => {
    const prompt = api().target.script === null ? 'Hi' : 'SAY:Hi'
    const { json } = await api().complete({ prompt, max_tokens: 40, ignore_eos: true })
    expect([json.usage.completion_tokens, json.choices[0].finish_reason]).toEqual([40, 'length'])
  })

  it('C31 does not end before min_tokens', async () => {
    const { json: free } = await api().complete({ max_tokens: 12, ignore_eos: true, return_token_ids: true })
    const text: string = free.choices[0].text
    const { json } = await api().complete({ max_tokens: 12, ignore_eos: true, min_tokens: 12, stop: [text[0]] })
    expect(json.usage.completion_tokens).toBe(12)
    expectError(await api().complete({ max_tokens: 4, min_tokens: 5 }), 400)
    expectError(await api().complete({ min_tokens: -1 }), 400)
  })
}
