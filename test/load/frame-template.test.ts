import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readFrame } from '../../src/load/frame.js'
import { FrameReader, type FrameSink } from '../../src/load/frame-reader.js'
import { FrameTemplate } from '../../src/load/frame-template.js'

const bytes = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
const frame = (text: string, extra: object = {}) => ({
  id: 'cmpl-1',
  created: 1,
  choices: [{ index: 0, text, logprobs: null, finish_reason: null, ...extra }],
})
const learn = (value: unknown) => FrameTemplate.learn(bytes(value), readFrame(bytes(value), null))!

const matches = (template: FrameTemplate, data: Buffer) => template.match(data, 0, data.length) === data.length

describe('frame template', () => {
  it('recognises frames that differ in strings, numbers and ids', () => {
    const template = learn(frame('a', { token_ids: [7] }))
    const other = { ...frame(' "quoted" \\ é', { token_ids: [1, 22, 333] }), id: 'x', created: 999 }
    expect(matches(template, bytes(other))).toBe(true)
    expect(template).toMatchObject({ idCount: 3, isAscii: false })
    expect(matches(template, bytes(frame(' plain', { token_ids: [1] })))).toBe(true)
    expect(template.isAscii).toBe(true)
  })

  it.each([
    ['a finish reason', { ...frame('a'), choices: [{ ...frame('a').choices[0], finish_reason: 'stop' }] }],
    ['another choice', { ...frame('a'), choices: [{ ...frame('a').choices[0], index: 1 }] }],
    ['an empty text', frame('')],
    ['another key', { ...frame('a'), error: { message: 'x' } }],
    ['usage', { ...frame('a'), usage: { completion_tokens: 1 } }],
    ['cut JSON', JSON.stringify(frame('a')).slice(0, -1)],
    ['a text that is not closed', '{"id":"cmpl-1","created":1,"choices":[{"index":0,"text":"a'],
  ])('does not match %s', (_, value) => {
    expect(matches(learn(frame('a')), bytes(value))).toBe(false)
  })

  it('reads an object anywhere in a buffer, and believes no byte beyond the end it was given', () => {
    const template = learn(frame('a'))
    const object = bytes(frame('bc'))
    const buffer = Buffer.concat([bytes('??'), object, bytes('stale')])
    expect(template.match(buffer, 2, buffer.length)).toBe(2 + object.length)
    expect(buffer.toString('utf8', template.textStart, template.textEnd)).toBe('bc')
    for (let end = 2; end < 2 + object.length; end++) expect(template.match(buffer, 2, end)).toBe(-1)
  })

  it('learns nothing from frames without text, with a finish reason, or of an error', () => {
    for (const value of [frame(''), { error: { message: 'x' } }, { choices: [], usage: { completion_tokens: 3 } }]) {
      expect(learn(value)).toBeNull()
    }
  })

  it('reads running usage', () => {
    const running = (n: number) => ({
      ...frame('a'),
      usage: { prompt_tokens: 5, completion_tokens: n, total_tokens: 5 + n },
    })
    const template = learn(running(1))
    expect(matches(template, bytes(running(4711)))).toBe(true)
    expect(template.completionTokens).toBe(4711)
  })

  it('says of any frame what JSON.parse says, or nothing', () => {
    const string = fc.string({ unit: 'binary', maxLength: 10 })
    const choice = fc.record(
      {
        index: fc.constantFrom(0, 0, 0, 1),
        text: string,
        delta: fc.record(
          { content: string, reasoning_content: string, role: fc.constant('assistant') },
          { requiredKeys: [] },
        ),
        finish_reason: fc.constantFrom(null, null, 'stop', ''),
        token_ids: fc.array(fc.nat(), { maxLength: 4 }),
      },
      { requiredKeys: ['index'] },
    )
    const anyFrame = fc.record(
      {
        id: string,
        created: fc.integer(),
        choices: fc.array(choice, { minLength: 0, maxLength: 2 }),
        usage: fc.option(fc.record({ completion_tokens: fc.nat() })),
      },
      { requiredKeys: ['choices'] },
    )
    fc.assert(
      fc.property(fc.array(anyFrame, { minLength: 1, maxLength: 12 }), (frames) => {
        const streams = [new FrameReader(true), null]
        const told = streams.map((reader) => {
          const log: unknown[] = []
          const state = { usageTokens: 0, verify: false }
          for (const value of frames) {
            try {
              // A reader that never learnt anything is the slow reading.
              ;(reader ?? new FrameReader(true)).read(bytes(value), null, state, logSink(log))
            } catch (error) {
              log.push((error as Error).message)
            }
          }
          return log
        })
        expect(told[0]).toEqual(told[1])
      }),
      { numRuns: 1500 },
    )
  })

  it('takes whole known events from the front of the bytes, and stops at anything else', () => {
    const reader = new FrameReader(true)
    const log: unknown[] = []
    const state = { usageTokens: 0, verify: false }
    const known = (text: string) => `data: ${JSON.stringify(frame(text))}\n\n`
    reader.read(bytes(frame('a')), null, state, logSink([]))
    const take = (stream: string | Buffer) => {
      log.length = 0
      return reader.readKnown(Buffer.from(stream), 0, Buffer.byteLength(stream), state, logSink(log))
    }
    const two = known('b') + known('é')
    expect(take(two)).toBe(Buffer.byteLength(two))
    expect(log.filter((entry) => (entry as string[])[0] === 'text')).toEqual([
      ['text', 'b'],
      ['text', 'é'],
    ])
    for (const rest of [
      'data: [DONE]\n\n',
      known('c').slice(0, -1),
      `:${known('c')}`,
      known('c').replace('\n', '\r\n'),
    ]) {
      expect(take(two + rest)).toBe(Buffer.byteLength(two))
    }
    const bad = Buffer.from(known('?'))
    bad[bad.indexOf('?')] = 0xff
    expect(take(bad)).toBe(0)
    state.verify = true
    expect(take(two)).toBe(0)
  })

  it('is given up at the first disagreement with JSON.parse, and that is counted', () => {
    const reader = new FrameReader(false)
    const log: unknown[] = []
    // A count that is not usage: the bytes cannot tell, JSON.parse can.
    const misleading = { ...frame('a'), timings: { completion_tokens: 5 } }
    for (let request = 0; request < 3; request++) {
      reader.read(bytes(misleading), null, { usageTokens: 0, verify: true }, logSink(log))
    }
    expect(reader.disagreements).toBe(1)
    expect(log).toEqual(Array(3).fill(['tokens', 'output', 0, 0]))
  })

  it('ends a stream whose string has an escape that JSON does not know', () => {
    const reader = new FrameReader(true)
    const state = { usageTokens: 0, verify: false }
    reader.read(bytes(frame('a')), null, state, logSink([]))
    const bad = bytes(JSON.stringify(frame('?')).replace('?', '\\q'))
    expect(() => reader.read(bad, null, state, logSink([]))).toThrow('not JSON')
  })
})

function logSink(log: unknown[]): FrameSink {
  const note =
    (name: string) =>
    (...values: unknown[]) => {
      log.push([name, ...values])
    }
  const quiet = () => {}
  return {
    onTokens: note('tokens'),
    onText: (text) => (text === '' ? quiet() : note('text')(text)),
    onTokenIds: (ids) => (ids.length === 0 ? quiet() : note('ids')([...ids])),
    onEmptyChoice: quiet,
    onFinish: note('finish'),
    onUsage: (usage) => (usage.completionTokens === null ? quiet() : quiet()),
    onErrorEvent: note('error'),
    onDone: note('done'),
  }
}
