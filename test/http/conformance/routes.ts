import { expect, it } from 'vitest'
import { type Api, expectError, type Json } from './api.js'

/** C01-C10: routes and shapes. */
export function routeCases(api: () => Api): void {
  it('C01 lists its model', async () => {
    const { status, json } = await api().get('/v1/models')
    expect(status).toBe(200)
    expect(json.object).toBe('list')
    const { model, maxModelLen } = api().target
    expect(json.data).toEqual([expect.objectContaining({ id: model, object: 'model', max_model_len: maxModelLen })])
    expect(json.data[0].created).toBeGreaterThan(1_600_000_000)
    expect(typeof json.data[0].owned_by).toBe('string')
  })

  it('C02 shows a model by id, 404 for an unknown one', async () => {
    const known = await api().get(`/v1/models/${encodeURIComponent(api().target.model)}`)
    expect(known.json).toMatchObject({ id: api().target.model, object: 'model' })
    expectError(await api().get('/v1/models/other'), 404, 'model_not_found')
  })

  it('C03 is healthy when ready', async () => {
    expect((await api().get('/health')).status).toBe(200)
  })

  it('C04 exposes metrics in the Prometheus text format', async () => {
    await api().complete({})
    const { status, headers, text } = await api().get('/metrics')
    expect(status).toBe(200)
    expect(headers.get('content-type')).toMatch(/^text\/plain; ?version=0\.0\.4/)
    const types = new Set<string>()
    for (const line of text.trimEnd().split('\n')) {
      const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line)
      if (type) {
        expect(types.has(type[1])).toBe(false)
        types.add(type[1])
      } else expect(line).toMatch(/^# HELP \S+ .+$|^[a-z0-9_:]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? -?[0-9.e+-]+$/)
    }
    const expected = ['num_requests_running', 'num_requests_waiting', 'kv_cache_usage_perc', 'generation_tokens_total']
    const histograms = ['time_to_first_token_seconds', 'inter_token_latency_seconds', 'e2e_request_latency_seconds']
    for (const name of [...expected, ...histograms]) expect(types).toContain(`pagedbench:${name}`)
    if (api().target.script === null) expect(text).toMatch(/:request_queue_time_seconds_count\{[^}]*\} [1-9]/)
    expect(text).toMatch(/pagedbench:time_to_first_token_seconds_bucket\{[^}]*le="\+Inf"\} [1-9]/)
  })

  it('C05 answers 404 to an unknown path', async () => {
    expectError(await api().get('/v2/models'), 404, 'unknown_route')
    expectError(await api().post('/v1/embeddings', {}), 404, 'unknown_route')
  })

  it('C06 answers 405 with Allow to a wrong method', async () => {
    const answer = await api().get('/v1/completions')
    expectError(answer, 405, 'method_not_allowed')
    expect(answer.headers.get('allow')).toBe('POST, OPTIONS')
    expectError(await api().get('/v1/models', {}, 'DELETE'), 405)
  })

  it('C07 answers HEAD as GET without a body, OPTIONS with the methods', async () => {
    for (const path of ['/v1/models', '/health', '/metrics']) {
      const head = await api().get(path, {}, 'HEAD')
      expect([head.status, head.text]).toEqual([200, ''])
    }
    const options = await api().get('/v1/chat/completions', {}, 'OPTIONS')
    expect([options.status, options.headers.get('allow')]).toEqual([204, 'POST, OPTIONS'])
    expectError(await api().get('/nothing', {}, 'OPTIONS'), 404)
  })

  it('C08 tolerates a trailing slash', async () => {
    expect((await api().get('/v1/models/')).json.object).toBe('list')
    expect((await api().post('/v1/completions/', { prompt: 'a', max_tokens: 1 })).status).toBe(200)
  })

  it('C09 answers a chat in the shape of the API', async () => {
    const { status, json } = await api().chat({ ignore_eos: true })
    expect(status).toBe(200)
    expect(json).toEqual({
      id: expect.stringMatching(/^chatcmpl-/),
      object: 'chat.completion',
      created: expect.any(Number),
      model: api().target.model,
      system_fingerprint: expect.any(String),
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: expect.any(String), refusal: null },
          logprobs: null,
          finish_reason: 'length',
        },
      ],
      usage: usageShape(),
    })
    expectSums(json.usage, 8)
  })

  it('C10 answers a completion in the shape of the API', async () => {
    const { status, json } = await api().complete({ ignore_eos: true })
    expect(status).toBe(200)
    expect(json).toEqual({
      id: expect.stringMatching(/^cmpl-/),
      object: 'text_completion',
      created: expect.any(Number),
      model: api().target.model,
      choices: [{ index: 0, text: expect.any(String), logprobs: null, finish_reason: 'length' }],
      usage: usageShape(),
    })
    expectSums(json.usage, 8)
  })
}

function usageShape(): Json {
  return {
    prompt_tokens: expect.any(Number),
    completion_tokens: expect.any(Number),
    total_tokens: expect.any(Number),
    prompt_tokens_details: { cached_tokens: expect.any(Number) },
  }
}

function expectSums(usage: Json, completionTokens: number): void {
  expect(usage.completion_tokens).toBe(completionTokens)
  expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens)
}
