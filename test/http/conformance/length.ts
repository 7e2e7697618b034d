import { expect, it } from 'vitest'
import { type Api, expectError, type Json } from './api.js'

/** C11-C19: length, stop, usage. */
export function lengthCases(api: () => Api): void {
  it('C11 counts in usage what the tokenizer and the engine count', async () => {
    const prompt = 'Some prompt of a few words'
    const { json: tokenized } = await api().post('/tokenize', { prompt })
    const before = await generatedTokens(api())
    const { json } = await api().complete({ prompt, max_tokens: 11, ignore_eos: true, return_token_ids: true })
    expect(json.usage.prompt_tokens).toBe(tokenized.count)
    expect(json.choices[0].prompt_token_ids).toEqual(tokenized.tokens)
    expect(json.choices[0].token_ids).toHaveLength(11)
    expect(json.usage.completion_tokens).toBe(11)
    expect((await generatedTokens(api())) - before).toBe(11)
  })

  it('C12 ends with "length" at exactly max_tokens', async () => {
    for (const max_tokens of [1, 2, 17]) {
      const { json } = await api().complete({ max_tokens, ignore_eos: true, return_token_ids: true })
      expect(json.choices[0].finish_reason).toBe('length')
      expect(json.choices[0].token_ids).toHaveLength(max_tokens)
    }
  })

  it('C13 ends with "stop" at an ending token: not in the text, counted in usage', async () => {
    const ids = await greedyIds(api(), 12)
    const at = ids.findIndex((id: number, i: number) => i >= 3 && ids.indexOf(id) === i)
    const body = { max_tokens: 12, ignore_eos: true, stop_token_ids: [ids[at]], return_token_ids: true }
    const { json } = await api().complete(body)
    expect(json.choices[0]).toMatchObject({ finish_reason: 'stop', token_ids: ids.slice(0, at + 1) })
    expect(json.usage.completion_tokens).toBe(at + 1)
    expect(json.choices[0].text).toBe(await textOf(api(), ids.slice(0, at)))
    const { json: included } = await api().complete({ ...body, include_stop_str_in_output: true })
    expect(included.choices[0].text).toBe(await textOf(api(), ids.slice(0, at + 1)))
  })

  it('C14 never leaks a part of a stop string, across tokens too', async () => {
    const text = await textOf(api(), await greedyIds(api(), 32))
    const middle = Math.floor(text.length / 2)
    for (const length of [1, 2, 5]) {
      const stop = text.slice(middle, middle + length)
      const expected = text.slice(0, text.indexOf(stop))
      const body = { max_tokens: 32, ignore_eos: true, stop: ['no such text', stop] }
      const { json } = await api().complete(body)
      expect(json.choices[0]).toMatchObject({ text: expected, finish_reason: 'stop' })
      const { json: included } = await api().complete({ ...body, include_stop_str_in_output: true })
      expect(included.choices[0].text).toBe(expected + stop)
    }
  })

  it('C15 finds a stop string whose characters are split between tokens', async (context) => {
    if (api().target.script === null) return context.skip('needs a scripted answer')
    const { json } = await api().complete({ prompt: 'SAY:naïve 漢字🙂 end', max_tokens: 64, stop: '字🙂' })
    expect(json.choices[0]).toMatchObject({ text: 'naïve 漢', finish_reason: 'stop' })
    const { json: part } = await api().complete({ prompt: 'SAY:naïve 漢字', max_tokens: 64, stop: '字字' })
    expect(part.choices[0]).toMatchObject({ text: 'naïve 漢字', finish_reason: 'stop' })
  })

  it('C16 takes stop as a string, a list, an empty list and four items, not five', async () => {
    for (const stop of ['zzz', ['zzz'], [], ['a1', 'b2', 'c3', 'd4'], null]) {
      expect((await api().complete({ stop })).status).toBe(200)
    }
    for (const stop of [['1', '2', '3', '4', '5'], '', [''], [7], 7, {}, 'x'.repeat(257)]) {
      expectError(await api().complete({ stop }), 400)
    }
  })

  it('C17 lets max_completion_tokens win', async () => {
    const { json } = await api().chat({ max_tokens: 2, max_completion_tokens: 5, ignore_eos: true })
    expect(json.usage.completion_tokens).toBe(5)
  })

  it('C18 reads max_tokens strictly', async () => {
    for (const max_tokens of [null, undefined]) {
      const { json } = await api().complete({ max_tokens, ignore_eos: true })
      expect(json.usage.completion_tokens).toBe(16)
    }
    for (const max_tokens of [0, -1, 1.5, '5', 2 ** 31, 2 ** 63, true, []]) {
      expectError(await api().complete({ max_tokens }), 400)
      expectError(await api().chat({ max_tokens }), 400)
    }
    expectError(await api().post('/v1/completions', '{"prompt":"a","max_tokens":1e309}'), 400)
  })

  it('C19 echoes the prompt, with max_tokens 0 too', async () => {
    const echoed = await api().complete({ prompt: 'echo me', echo: true, max_tokens: 4, ignore_eos: true })
    expect(echoed.json.choices[0].text.startsWith('echo me')).toBe(true)
    const { json } = await api().complete({ prompt: 'echo me', echo: true, max_tokens: 0 })
    expect(json.choices[0]).toMatchObject({ text: 'echo me', finish_reason: 'length' })
    expect(json.usage.completion_tokens).toBe(0)
    const events = await api().streamCompletion({ prompt: 'echo me', echo: true, max_tokens: 0 })
    expect(events.map(({ data }) => data.choices?.[0].text ?? data)).toEqual(['echo me', '[DONE]'])
    expectError(await api().complete({ echo: true, logprobs: 1 }), 400, 'unsupported_field')
  })
}

async function greedyIds(api: Api, max_tokens: number): Promise<number[]> {
  const { json } = await api.complete({ max_tokens, ignore_eos: true, return_token_ids: true })
  return json.choices[0].token_ids
}

async function textOf(api: Api, tokens: number[]): Promise<string> {
  const { json } = await api.post('/detokenize', { tokens })
  return json.prompt
}

async function generatedTokens(api: Api): Promise<number> {
  const { json }: { json: Json } = await api.get('/v1/engine')
  return json.stats.generationTokens
}
