import OpenAI, { APIError } from 'openai'
import { expect, it } from 'vitest'
import type { Api } from './api.js'

/** The same server through OpenAI's own client. */
export function sdkCases(api: () => Api): void {
  const client = () => new OpenAI({ baseURL: `${api().target.url}/v1`, apiKey: 'none', maxRetries: 0 })
  const ask = () => ({
    model: api().target.model,
    messages: [{ role: 'user' as const, content: 'Hello' }],
    max_tokens: 8,
    temperature: 0,
  })

  it('SDK lists and retrieves models', async () => {
    const list = await client().models.list()
    expect(list.data.map((model) => model.id)).toEqual([api().target.model])
    expect((await client().models.retrieve(api().target.model)).object).toBe('model')
  })

  it('SDK gets the same chat at once, as a raw stream and as a helper stream', async () => {
    const whole = await client().chat.completions.create(ask())
    const content = whole.choices[0]?.message.content
    let joined = ''
    for await (const chunk of await client().chat.completions.create({ ...ask(), stream: true })) {
      joined += chunk.choices[0]?.delta.content ?? ''
    }
    expect(joined).toBe(content)
    const final = await client().chat.completions.stream(ask()).finalChatCompletion()
    expect(final.choices[0]?.message.content).toBe(content)
    expect(final.choices[0]?.finish_reason).toBe(whole.choices[0]?.finish_reason)
  })

  it('SDK gets completions with logprobs, and usage from a stream', async () => {
    const { model } = api().target
    const settings = { model, prompt: 'The fox', max_tokens: 8, temperature: 0 }
    const whole = await client().completions.create({ ...settings, logprobs: 2 })
    expect(whole.choices[0]?.logprobs?.tokens?.length).toBe(whole.usage?.completion_tokens)
    const options = { stream: true as const, stream_options: { include_usage: true } }
    let usage = null
    for await (const chunk of await client().completions.create({ ...settings, ...options })) usage = chunk.usage
    expect(usage?.total_tokens).toBe(whole.usage?.total_tokens)
  })

  it('SDK throws typed errors with our code and param', async () => {
    const failure = await client()
      .chat.completions.create({ ...ask(), temperature: 5 })
      .then(
        () => null,
        (error: unknown) => error,
      )
    expect(failure).toBeInstanceOf(APIError)
    expect(failure).toMatchObject({ status: 400, code: 'invalid_value', param: 'temperature' })
    await expect(client().models.retrieve('other')).rejects.toMatchObject({ status: 404, code: 'model_not_found' })
  })
}
