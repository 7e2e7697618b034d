import { createParser } from 'eventsource-parser'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EventScanner } from '../../src/load/sse.js'
import { chat, done, text, usage } from './stream-fixture.js'

function scan(chunks: readonly Buffer[]): string[] {
  const events: string[] = []
  const scanner = new EventScanner((data, name) => {
    events.push(`${name ?? ''}|${Buffer.from(data).toString('utf8')}`)
  })
  for (const chunk of chunks) {
    // As from a socket: a part of a larger buffer that the next read overwrites.
    const read = Buffer.concat([Buffer.from('{}'), chunk, Buffer.from('}\n\n')])
    scanner.push(read, 2, 2 + chunk.length)
    read.fill('x')
  }
  return events
}

function oracle(stream: string): string[] {
  const events: string[] = []
  const parser = createParser({ onEvent: (found) => events.push(`${found.event ?? ''}|${found.data}`) })
  parser.feed(stream)
  return events
}

const golden: Record<string, string> = {
  completions: text(' the') + text(' quick') + text('', 'length') + usage(2) + done,
  chat: chat({ role: 'assistant', content: '' }) + chat({ content: 'é∑😀' }) + chat({}, 'stop') + done,
  'without a space': 'data:{"a":1}\n\ndata:[DONE]\n\n',
  comments: ': hi\n\n:\n: ping\ndata: 1\n: within\ndata: 2\n\n',
  'other fields': 'id: 7\nretry: 10\nevent: error\ndata: bad\n\nevent\ndata: x\n\n',
  'empty data': 'data\n\ndata:\n\ndata: \n\n',
  'no last blank line': 'data: 1\n\ndata: 2\n',
}

describe('event scanner', () => {
  for (const [name, lf] of Object.entries(golden)) {
    for (const [ending, newline] of Object.entries({ LF: '\n', CRLF: '\r\n', CR: '\r' })) {
      const stream = lf.replaceAll('\n', newline)
      it(`finds the same events however the bytes are split: ${name}, ${ending}`, () => {
        const bytes = Buffer.from(stream)
        const expected = oracle(lf)
        for (let cut = 0; cut <= bytes.length; cut++) {
          expect(scan([bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual(expected)
        }
        expect(scan([...bytes].map((byte) => Buffer.from([byte])))).toEqual(expected)
        expect(scan([Buffer.from([0xef, 0xbb, 0xbf]), bytes])).toEqual(expected)
      })
    }
  }

  it('agrees with eventsource-parser on any lines in any pieces', () => {
    const line = fc.oneof(
      fc.constantFrom('', '', 'data', 'data:', ': c', 'event: e', 'id: 1', 'datax: 1', ' data: 1'),
      fc.string({ maxLength: 12, unit: 'grapheme' }).map((value) => `data: ${value.replace(/[\r\n]/g, '')}`),
    )
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 20 }),
        fc.array(fc.nat({ max: 300 }), { maxLength: 5 }),
        (lines, cuts) => {
          const stream = lines.map((one) => `${one}\n`).join('')
          const bytes = Buffer.from(stream)
          const points = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length]
          const chunks = points.slice(1).map((end, index) => bytes.subarray(points[index], end))
          expect(scan(chunks)).toEqual(oracle(stream))
        },
      ),
      { numRuns: 500 },
    )
  })
})
