import { describe, expect, it } from 'vitest'
import { latenciesOf, tokenGaps } from '../../src/metrics/latency.js'
import { chat, done, event, playStream, SENT_NS, text, usage } from './stream-fixture.js'

/** The table of traps of the reference, row by row: each once cost a published tool a wrong number. */
const ms = (ns: number | null) => (ns === null ? null : (ns - SENT_NS) / 1e6)

describe('first token', () => {
  it('is not a role-only frame, an empty delta, a comment or a ping', () => {
    const record = playStream([
      { atMs: 1, bytes: chat({ role: 'assistant', content: '' }) },
      { atMs: 2, bytes: ': ping\n\n' },
      { atMs: 3, bytes: chat({ content: '' }) },
      { atMs: 4, bytes: event({ type: 'ping' }) },
      { atMs: 50, bytes: chat({ content: 'Hi' }) },
      { atMs: 60, bytes: chat({}, 'stop') + done },
    ])
    expect(ms(record.firstTokenNs)).toBe(50)
    expect(ms(record.firstByteNs)).toBe(1)
    expect(record.readNs).toEqual([50e6])
    expect(record).toMatchObject({ outcome: 'ok', frames: 1, counted: 1, finishReason: 'stop' })
  })

  it.each(['reasoning_content', 'reasoning'])('is %s before content; first output waits for content', (key) => {
    const record = playStream([
      { atMs: 10, bytes: chat({ [key]: 'hm' }) },
      { atMs: 20, bytes: chat({ [key]: ' so' }) },
      { atMs: 30, bytes: chat({ content: 'Yes' }) },
      { atMs: 31, bytes: chat({}, 'stop') + usage(3) + done },
    ])
    expect([ms(record.firstTokenNs), ms(record.firstOutputNs), record.counted]).toEqual([10, 30, 3])
    expect(latenciesOf(record)).toMatchObject({ ttftMs: 10, ttfoMs: 30 })
  })

  it('is a tool call that comes alone, and it is output', () => {
    const record = playStream([
      { atMs: 10, bytes: chat({ tool_calls: [{ index: 0, function: { name: 'f', arguments: '' } }] }) },
      { atMs: 20, bytes: chat({ tool_calls: [{ index: 0, function: { arguments: '{}' } }] }) },
      { atMs: 21, bytes: chat({}, 'tool_calls') + done },
    ])
    expect([ms(record.firstTokenNs), ms(record.firstOutputNs), record.frames]).toEqual([10, 10, 2])
  })
})

describe('usage', () => {
  it('without choices is no token, and the last one wins', () => {
    const record = playStream([
      { atMs: 10, bytes: text('a') },
      { atMs: 20, bytes: text('b', 'length') + usage(9) + usage(2) + done },
    ])
    expect(record).toMatchObject({ outcome: 'ok', frames: 2, counted: 2, usageCompletionTokens: 2 })
    expect(ms(record.lastTokenNs)).toBe(20)
  })

  it('on every frame gives tokens per frame', () => {
    const running = (completion: number) => ({ usage: { prompt_tokens: 5, completion_tokens: completion } })
    const record = playStream([
      { atMs: 10, bytes: text('a', null, running(1)) },
      { atMs: 20, bytes: text('b c d', null, running(4)) },
      { atMs: 30, bytes: text('e f', null, running(6)) },
      { atMs: 40, bytes: text('', 'length', running(6)) + usage(6) + done },
    ])
    expect(record.readTokens).toEqual([1, 3, 2])
    expect(record.counted).toBe(6)
  })

  it('counts cached tokens', () => {
    const record = playStream([
      { atMs: 10, bytes: text('a', 'stop') + usage(1, 64, { prompt_tokens_details: { cached_tokens: 48 } }) + done },
    ])
    expect(record).toMatchObject({ usagePromptTokens: 64, cachedTokens: 48 })
  })

  it('one above the frames is an end token never shown; many above are spread over the frames', () => {
    const hidden = playStream([{ atMs: 10, bytes: text('a') + text('b') + text('', 'stop') + usage(3) + done }])
    expect([hidden.counted, hidden.readTokens]).toEqual([3, [2]])
    const coalesced = playStream([
      { atMs: 10, bytes: text('a b') },
      { atMs: 20, bytes: text('c d') },
      { atMs: 30, bytes: text('e f', 'length') + usage(6) + done },
    ])
    expect([coalesced.counted, coalesced.readTokens]).toEqual([6, [2, 2, 2]])
  })

  it.each([
    ['more than asked', usage(101), 'max_tokens was 100'],
    ['none for a stream of tokens', usage(0), '3 frames'],
    ['fewer than the frames', usage(1), '3 frames'],
    ['a fraction', usage(2.5), '2.5'],
    ['a negative count', usage(-1), '-1'],
    ['no prompt', usage(3, 0), 'prompt_tokens 0'],
  ])('that cannot be is a failure: %s', (_, frame, detail) => {
    const record = playStream([{ atMs: 5, bytes: text('a') + text('b') + text('c', 'stop') + frame + done }])
    expect(record.outcome).toBe('usage-mismatch')
    expect(record.detail).toContain(detail)
  })
})

describe('reads', () => {
  it('two frames in one read share a time and a gap', () => {
    const record = playStream([
      { atMs: 10, bytes: text('a') },
      { atMs: 30, bytes: text('b') + text('c') },
      { atMs: 31, bytes: text('', 'length') + usage(3) + done },
    ])
    expect(record.readNs).toEqual([10e6, 30e6])
    expect([record.readTokens, record.readFrames]).toEqual([
      [1, 2],
      [1, 2],
    ])
    expect(tokenGaps(record)).toEqual({ gapMs: [20], tokens: [2] })
    expect(latenciesOf(record).tpotMs).toBe(10)
  })

  it.each(['\n', '\r\n', '\r'])(
    'a frame over two reads counts when it is complete, split inside a character (%j)',
    (newline) => {
      const bytes = Buffer.from(text('é∑').replaceAll('\n', newline))
      const cut = bytes.indexOf(Buffer.from('∑')) + 1
      const tail = Buffer.from((text('', 'stop') + done).replaceAll('\n', newline))
      const record = playStream([
        { atMs: 10, bytes: bytes.subarray(0, cut) },
        { atMs: 40, bytes: bytes.subarray(cut) },
        { atMs: 50, bytes: tail },
        // A CR-only stream cannot know that a LF does not follow until the next byte.
      ])
      expect(record).toMatchObject({ outcome: 'ok', text: 'é∑', frames: 1 })
      expect(ms(record.firstTokenNs)).toBe(40)
    },
  )

  it('the whole response in one read has a TTFT, but no TPOT and no ITL', () => {
    const record = playStream([{ atMs: 70, bytes: text('a') + text('b') + text('c', 'length') + usage(3) + done }])
    expect(latenciesOf(record)).toMatchObject({ ttftMs: 70, tpotMs: null })
    expect(tokenGaps(record).gapMs).toEqual([])
    expect(record.outcome).toBe('ok')
  })
})

describe('the end', () => {
  it('without [DONE] is an end; [DONE] after a delay moves only done', () => {
    const open = playStream([{ atMs: 10, bytes: text('a', 'stop') }])
    expect(open).toMatchObject({ outcome: 'ok', counted: 1 })
    const late = playStream([
      { atMs: 10, bytes: text('a', 'stop') },
      { atMs: 500, bytes: done },
    ])
    expect(ms(late.lastTokenNs)).toBe(10)
  })

  it('N = 0 has no TTFT, N = 1 no TPOT; neither is 0', () => {
    const none = playStream([{ atMs: 10, bytes: text('', 'stop') + usage(0) + done }])
    expect(none).toMatchObject({ outcome: 'ok', counted: 0 })
    expect(latenciesOf(none)).toMatchObject({ ttftMs: null, tpotMs: null, e2eMs: null })
    const one = playStream([{ atMs: 10, bytes: text('a', 'length') + usage(1) + done }])
    expect(latenciesOf(one)).toMatchObject({ ttftMs: 10, tpotMs: null, e2eMs: 10 })
  })

  it('a non-streamed answer is no stream', () => {
    const record = playStream([{ atMs: 10, bytes: '{"choices":[{"text":"a"}]}' }], {
      headers: { 'content-type': 'application/json' },
    })
    expect(record).toMatchObject({ outcome: 'content-type', firstTokenNs: null })
  })

  it('finish_reason length with fewer tokens than asked is kept for the verdict', () => {
    const record = playStream([{ atMs: 10, bytes: text('a', 'length') + usage(1) + done }], { outputTokens: 50 })
    expect(record).toMatchObject({ outcome: 'ok', finishReason: 'length', counted: 1, outputTokens: 50 })
  })

  it('a stream cut before its finish reason has failed, with or without [DONE]', () => {
    for (const end of ['', done]) {
      expect(playStream([{ atMs: 10, bytes: text('a') + text('b') + end }]).outcome).toBe('truncated')
    }
  })

  it('an error object inside a 200 has failed; its tokens stay in the time line', () => {
    const record = playStream([
      { atMs: 10, bytes: text('a') },
      { atMs: 20, bytes: event({ error: { message: 'KV cache\u001b[31m full', code: 'x' } }) + done },
    ])
    expect(record).toMatchObject({ outcome: 'stream-error', detail: 'KV cache [31m full', frames: 1 })
    expect(record.readNs).toEqual([10e6])
    const named = playStream([{ atMs: 10, bytes: 'event: error\ndata: out of memory\n\n' }])
    expect(named).toMatchObject({ outcome: 'stream-error', detail: 'out of memory' })
  })

  it('a reset keeps what came and the intended time', () => {
    const error = Object.assign(new Error('other side closed'), { code: 'UND_ERR_SOCKET' })
    const record = playStream([{ atMs: 10, bytes: text('a') }], { error })
    expect(record).toMatchObject({ outcome: 'reset', intendedNs: SENT_NS, frames: 1, doneNs: expect.any(Number) })
  })

  it.each([
    [429, 'http-429'],
    [503, 'http-5xx'],
    [400, 'http-4xx'],
    [302, 'http-redirect'],
  ])('HTTP %i is %s, with the server’s reason', (status, outcome) => {
    const record = playStream([{ atMs: 3, bytes: '{"error":{"message":"slow down"}}' }], { status })
    expect(record).toMatchObject({ outcome, httpStatus: status })
    expect(record.detail).toContain('slow down')
  })
})

describe('frames of several tokens', () => {
  it('have an ITL of gap / k, a chunk gap of the whole, and more than one token a frame', () => {
    const many = (ids: number[], finish: string | null = null) =>
      event({ choices: [{ index: 0, text: 'x'.repeat(ids.length), finish_reason: finish, token_ids: ids }] })
    const record = playStream([
      { atMs: 10, bytes: many([1]) },
      { atMs: 40, bytes: many([2, 3, 4]) },
      { atMs: 70, bytes: many([5, 6, 7], 'length') + usage(7) + done },
    ])
    expect(record).toMatchObject({
      engineTokens: 7,
      counted: 7,
      readTokens: [1, 3, 3],
      tokenIds: [1, 2, 3, 4, 5, 6, 7],
    })
    expect(latenciesOf(record).tpotMs).toBe(10)
    expect(tokenGaps(record)).toEqual({ gapMs: [30, 30], tokens: [3, 3] })
  })
})

describe('frames that are not valid', () => {
  it.each([
    ['garbage', 'data: {"choices": [\n\n', 'not JSON'],
    ['a list', 'data: [1]\n\n', 'not an object'],
    [
      'two choices',
      event({
        choices: [
          { index: 0, text: 'a' },
          { index: 1, text: 'b' },
        ],
      }),
      '2 choices',
    ],
    ['another choice', event({ choices: [{ index: 1, text: 'a' }] }), 'choice 1'],
    ['two finish reasons', text('a', 'stop') + text('', 'stop'), 'two finish reasons'],
    ['tokens after the finish', text('a', 'stop') + text('b'), 'after the finish'],
  ])('%s', (_, bytes, detail) => {
    const record = playStream([{ atMs: 5, bytes: text('ok') + text('ok') + bytes }])
    expect(record.outcome).toBe('bad-frame')
    expect(record.detail).toContain(detail)
  })

  it('bytes that are not UTF-8, also where a learnt template would match', () => {
    const bad = Buffer.from(text('a?b'))
    bad[bad.indexOf('?')] = 0xff
    const record = playStream([
      { atMs: 5, bytes: text('one') + text('two') },
      { atMs: 6, bytes: bad },
    ])
    expect(record).toMatchObject({ outcome: 'bad-frame', detail: 'not UTF-8' })
  })

  it('a line of more than a mebibyte', () => {
    const record = playStream([{ atMs: 5, bytes: `data: ${'x'.repeat(1_100_000)}` }])
    expect(record).toMatchObject({ outcome: 'bad-frame', detail: 'a line of more than 1 MiB' })
  })
})
