import { expect, it } from 'vitest'
import { Api, expectError, type Json } from './api.js'
import type { StartTarget } from './target.js'

/** C32-C44: validation. */
export function validationCases(api: () => Api, start: StartTarget): void {
  it('C32 keeps the order of prompts, as ids and as text', async () => {
    const greedy = { max_tokens: 6, ignore_eos: true }
    const single = async (prompt: unknown) => (await api().complete({ ...greedy, prompt })).json.choices[0].text
    const ids = [
      [70, 71, 72],
      [80, 81, 82, 83],
    ]
    const alone = [await single(ids[0]), await single(ids[1])]
    const { json } = await api().complete({ ...greedy, prompt: ids, n: 2 })
    expect(json.choices.map((choice: Json) => choice.index)).toEqual([0, 1, 2, 3])
    expect(json.choices.map((choice: Json) => choice.text)).toEqual([alone[0], alone[0], alone[1], alone[1]])
    expect(json.usage).toMatchObject({ prompt_tokens: 7, completion_tokens: 24 })
    const texts = await api().complete({ ...greedy, prompt: ['one', 'two and more'] })
    expect(texts.json.choices.map((choice: Json) => choice.text)).toEqual([
      await single('one'),
      await single('two and more'),
    ])
  })

  it('C33 refuses token ids outside the vocabulary', async () => {
    for (const id of [-1, api().target.vocabSize, 2 ** 31, 1.5, '1', null]) {
      expectError(await api().complete({ prompt: [5, id] }), 400)
      expectError(await api().complete({ prompt: [[5, id]] }), 400)
    }
    expectError(await api().complete({ stop_token_ids: [-1] }), 400)
  })

  it('C34 refuses an empty prompt', async () => {
    for (const prompt of ['', [], null, [''], [[]], ['a', '']]) expectError(await api().complete({ prompt }), 400)
    expectError(await api().post('/v1/completions', {}), 400, 'missing_field')
  })

  it('C35 refuses more prompts than the cap, and mixed lists', async () => {
    const prompt = Array.from({ length: 65 }, () => 'a')
    expectError(await api().complete({ prompt }), 400)
    expectError(await api().complete({ prompt: ['a', [1]] }), 400)
    expectError(await api().complete({ prompt: [[1], 'a'] }), 400)
    expectError(await api().complete({ prompt: { text: 'a' } }), 400)
  })

  it('C36 refuses suffix, best_of above 1 and logit_bias', async () => {
    for (const body of [{ suffix: 'x' }, { best_of: 2 }, { logit_bias: { 5: 1 } }, { prompt_logprobs: 1 }]) {
      expectError(await api().complete(body), 400, 'unsupported_field')
    }
    for (const body of [{ suffix: null }, { best_of: 1 }, { logit_bias: {} }]) {
      expect((await api().complete(body)).status).toBe(200)
    }
  })

  it('C37 refuses tools it would have to obey, and response formats', async () => {
    const tools = [{ type: 'function', function: { name: 'f', parameters: {} } }]
    const json_schema = { name: 'x', schema: {} }
    const refused = [{ tools: [] }, { tools: 7 }, { tools, tool_choice: 'required' }, { tools, tool_choice: 'auto' }]
    const formats = [{ type: 'json_schema', json_schema }, { type: 'json_object' }, 'text', { type: 'text2' }]
    for (const body of refused) expectError(await api().chat(body), 400)
    for (const response_format of formats) expectError(await api().chat({ response_format }), 400)
    expect((await api().chat({ tools, tool_choice: 'none', response_format: { type: 'text' } })).status).toBe(200)
    expect((await api().chat({ tools })).status).toBe(200)
  })

  it('C38 refuses malformed messages with 400', async () => {
    const lists: unknown[] = ['hi', [], [123], [{}], [null], [{ role: 'user' }], [{ content: 'x' }], {}, null]
    const role = { role: 123, content: 'x' }
    lists.push(
      [role],
      [{ role: 'robot', content: 'x' }],
      [{ role: 'user', content: 123 }],
      [{ role: 'user', content: null }],
    )
    for (const messages of lists) {
      const answer = await api().chat({ messages })
      expectError(answer, 400)
      expect(answer.json.error.param).toMatch(/^messages/)
    }
  })

  it('C39 takes text parts, refuses images', async () => {
    const ask = (content: unknown) => api().chat({ messages: [{ role: 'user', content }] })
    const parts = await ask([
      { type: 'text', text: 'Hel' },
      { type: 'text', text: 'lo' },
    ])
    expect(parts.json.usage.prompt_tokens).toBe((await ask('Hello')).json.usage.prompt_tokens)
    expectError(await ask([{ type: 'image_url', image_url: { url: 'data:' } }]), 400, 'unsupported_field')
    expectError(await ask([{ type: 'input_audio', input_audio: {} }]), 400)
    expectError(await ask([{ type: 'text' }]), 400)
  })

  it('C40 counts ignored fields by name, unknown ones together', async () => {
    expect((await api().chat({ user: 'me', a_new_field: 1, another: 2 })).status).toBe(200)
    const { text } = await api().get('/metrics')
    expect(text).toMatch(/request_fields_ignored_total\{[^}]*field="user"\} 1/)
    expect(text).toMatch(/request_fields_ignored_total\{[^}]*field="other"\} 2/)
    expect(text).not.toContain('a_new_field')
  })

  it('C41 answers 404 to an unknown model', async () => {
    expectError(await api().complete({ model: 'gpt-4' }), 404, 'model_not_found')
    expectError(await api().chat({ model: 'gpt-4' }), 404, 'model_not_found')
    expect((await api().chat({ model: api().target.model })).status).toBe(200)
    expectError(await api().chat({ model: 7 }), 400)
  })

  it('C42 takes a prompt up to one token short of the context', async () => {
    const { maxModelLen } = api().target
    const prompt = (length: number) => Array.from({ length }, (_, i) => 65 + (i % 20))
    const fits = await api().complete({ prompt: prompt(maxModelLen - 1), max_tokens: 1, ignore_eos: true })
    expect(fits.json.usage).toMatchObject({ prompt_tokens: maxModelLen - 1, completion_tokens: 1 })
    for (const length of [maxModelLen, maxModelLen + 1]) {
      expectError(await api().complete({ prompt: prompt(length), max_tokens: 1 }), 400, 'context_length_exceeded')
    }
  })

  it('C43 refuses prompt + max_tokens beyond the context, before any event', async () => {
    const { maxModelLen } = api().target
    const answer = await api().complete({ prompt: [70, 71, 72], max_tokens: maxModelLen - 2, stream: true })
    expectError(answer, 400, 'context_length_exceeded')
    expect(answer.json.error.param).toBe('max_tokens')
    expectError(await api().chat({ max_tokens: maxModelLen }), 400, 'context_length_exceeded')
  })

  it('C44 refuses at admission what the KV cache can never hold', async (context) => {
    if (!api().target.pooledKv) return context.skip('every slot holds the whole context')
    const target = await start({ kvTokens: 96 })
    try {
      const small = new Api(target)
      const prompt = Array.from({ length: 200 }, () => 65)
      expectError(await small.complete({ prompt, max_tokens: 4 }), 400, 'kv_capacity_exceeded')
      expect((await small.complete({ max_tokens: 4 })).status).toBe(200)
    } finally {
      await target.close()
    }
  })
}
