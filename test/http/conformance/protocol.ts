import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Api, expectError } from './api.js'
import type { StartTarget } from './target.js'

const KEY = 'sk-Test-Key-0123456789'

/** C56-C64: HTTP and security. */
export function protocolCases(api: () => Api, start: StartTarget): void {
  const keyed: { api: Api | null } = { api: null }
  beforeAll(async () => {
    keyed.api = new Api(await start({ apiKey: KEY, allowedOrigins: ['http://ui.example'], maxBodyBytes: 64 * 1024 }))
  })
  afterAll(() => keyed.api?.target.close())

  it('C56 takes JSON in UTF-8 only', async () => {
    const body = '{"prompt":"a","max_tokens":1}'
    const post = (type: string) => api().post('/v1/completions', Buffer.from(body), { 'content-type': type })
    for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'application/json; charset=utf-16', '']) {
      expectError(await post(type), 415, 'unsupported_media_type')
    }
    for (const type of ['application/json; charset=utf-8', 'application/json;charset="UTF-8"', 'Application/JSON']) {
      expect((await post(type)).status).toBe(200)
    }
  })

  it('C57 answers 400 to every body that is not one clean JSON object', async () => {
    const deep = (open: string, close: string, n: number) => `{"prompt":"a","x":${open.repeat(n)}0${close.repeat(n)}}`
    const bodies: (string | Uint8Array)[] = [
      ...['', '{', '{"prompt":"a"} x', '[]', '7', 'null', '"x"', '{"prompt":"a","prompt":"b"}'],
      ...['{"a":{"k":1,"k":2},"prompt":"x"}', '\ufeff{"prompt":"a"}', '{"prompt":"a\u0000b"}', '{"prompt":"\\ud800"}'],
      ...['{"prompt":"a","\\u0070rompt":"b"}', deep('[', ']', 10_000), deep('{"a":', '}', 100), "{'prompt':'a'}"],
      Buffer.from('7b2270726f6d7074223a22ff227d', 'hex'),
    ]
    for (const body of bodies) {
      for (const path of ['/v1/completions', '/v1/chat/completions']) {
        expectError(await api().post(path, Buffer.from(body)), 400)
      }
    }
    const huge = JSON.stringify({ prompt: 'a', temperature: 'x'.repeat(200_000) })
    expectError(await api().post('/v1/completions', huge), 400)
  })

  it('C58 answers 413 to a body over the limit and closes', async () => {
    const large = JSON.stringify({ prompt: 'x'.repeat(70_000) })
    const declared = await keyed.api!.post('/v1/completions', large, { authorization: `Bearer ${KEY}` })
    expectError(declared, 413, 'body_too_large')
    expect(declared.headers.get('connection')).toBe('close')
    const head = `POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${KEY}\r\n`
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`
    const chunked = `${head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}${chunk}0\r\n\r\n`
    expect(await keyed.api!.raw(chunked)).toMatch(/^HTTP\/1\.1 413 [\s\S]*connection: close/i)
  })

  it('C59 answers 431 to headers over 16 KiB', async () => {
    const answer = await api().raw(`GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Big: ${'x'.repeat(20_000)}\r\n\r\n`)
    expect(answer).toMatch(/^HTTP\/1\.1 431 /)
    expect(answer).toContain('"code":"headers_too_large"')
  })

  it('C60 answers 415 to a compressed body, a bomb too', async () => {
    for (const bytes of [gzipSync('{"prompt":"a"}'), gzipSync(Buffer.alloc(30_000_000))]) {
      const answer = await api().post('/v1/completions', bytes, { 'content-encoding': 'gzip' })
      expectError(answer, 415)
    }
  })

  it('C61 keeps to HTTP/1.1: continue, chunked, pipelined; ambiguous framing is refused', async () => {
    const body = '{"prompt":"a","max_tokens":1}'
    const head = 'POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
    const sized = `${head}Content-Length: ${body.length}\r\n\r\n${body}`
    const last = sized.replace('Host:', 'Connection: close\r\nHost:')
    const waited = await api().raw(last.replace('Host:', 'Expect: 100-continue\r\nHost:'))
    expect(waited).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /)
    const chunks = [...body].map((character) => `1\r\n${character}\r\n`).join('')
    expect(await api().raw(`${head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 200 /,
    )
    const pipelined = await api().raw(sized + sized + last)
    expect(pipelined.match(/HTTP\/1\.1 200 /g)).toHaveLength(3)
    const ambiguous = [
      `${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      `${head}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`,
      `${head}Content-Length: -1\r\n\r\n`,
      `${head}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
      'GET /v1/models HTTP/1.1\nHost: localhost\n\n',
      'NONSENSE\r\n\r\n',
      'GET /v1/models HTTP/1.1\r\n\r\n',
      'GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n',
    ]
    for (const request of ambiguous) expect(await api().raw(request, 400), request).toMatch(/^HTTP\/1\.1 400 /)
  })

  it('C62 asks for exactly the key', async () => {
    const ask = (authorization: string | null) =>
      keyed.api!.get('/v1/models', authorization === null ? {} : { authorization })
    expect((await ask(`Bearer ${KEY}`)).status).toBe(200)
    const wrong = [null, '', KEY, `bearer ${KEY}`, `Bearer ${KEY.toLowerCase()}`, `Bearer ${KEY}x`, 'Bearer', 'Basic x']
    for (const authorization of wrong) expectError(await ask(authorization), 401, 'invalid_api_key')
    expect((await keyed.api!.get('/health')).status).toBe(200)
    for (const path of ['/metrics', '/v1/engine']) expectError(await keyed.api!.get(path), 401)
    expectError(await keyed.api!.post('/tokenize', { prompt: 'a' }), 401)
  })

  it('C63 answers 403 to a foreign Host or Origin', async () => {
    const get = (headers: string) => api().raw(`GET /v1/models HTTP/1.1\r\nConnection: close\r\n${headers}\r\n\r\n`)
    expect(await get('Host: evil.example')).toMatch(/^HTTP\/1\.1 403 [\s\S]*forbidden_host/)
    expect(await get('Host: 127.0.0.1.evil.example:80')).toMatch(/^HTTP\/1\.1 403 /)
    for (const host of ['localhost:8000', '127.0.0.1', '[::1]:9'])
      expect(await get(`Host: ${host}`)).toMatch(/^HTTP\/1\.1 200 /)
    expect(await get('Host: localhost\r\nOrigin: http://evil.example')).toMatch(
      /^HTTP\/1\.1 403 [\s\S]*forbidden_origin/,
    )
    const preflight = await keyed.api!.get('/v1/chat/completions', { origin: 'http://ui.example' }, 'OPTIONS')
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-origin')).toBe('http://ui.example')
    expect(preflight.headers.get('access-control-allow-headers')).toContain('authorization')
    expect(preflight.headers.get('access-control-allow-credentials')).toBeNull()
  })

  it('C64 echoes x-request-id, bounded and clean', async () => {
    const id = async (given: string) =>
      (await api().get('/v1/models', { 'x-request-id': given })).headers.get('x-request-id')
    expect(await id('abc-123')).toBe('abc-123')
    expect(await id('x'.repeat(500))).toBe('x'.repeat(128))
    expect(await id('a b\tc')).toBe('abc')
    expect((await api().get('/v1/models')).headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    const smuggled = await api().raw(
      'GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a\rX-Evil: 1\r\n\r\n',
      400,
    )
    expect(smuggled).not.toMatch(/^x-evil/im)
  })
}
