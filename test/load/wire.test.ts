import type { Socket } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Wire } from '../../src/load/wire.js'

const HEAD = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n'
const END = '0\r\n\r\n'
const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`

interface Play {
  /** What the HTTP library got, and what the request got. */
  library: string
  body: string
  broken: boolean
}

/** Feeds reads through a wire; the library takes each head at once, as undici does within the turn of the read. */
async function play(reads: readonly Buffer[], isStream = true, requests = 1): Promise<Play> {
  const seen: Play = { library: '', body: '', broken: false }
  const wire = new Wire()
  let taken = 0
  wire.attach({
    push: (bytes: Buffer) => {
      seen.library += bytes.toString('latin1')
      const heads = seen.library.split('HTTP/1.1 200').length - 1
      if (heads === taken || !seen.library.endsWith('\r\n\r\n')) return true
      taken = heads
      if (isStream) wire.takeBody()
      else wire.leaveBody()
      return true
    },
  } as unknown as Socket)
  const buffer = wire.onread.buffer as Buffer
  for (let request = 0; request < requests; request++) {
    wire.begin({
      onBody: (bytes, start, end) => {
        seen.body += bytes.toString('latin1', start, end)
      },
      onBrokenBody: () => {
        seen.broken = true
      },
    })
    for (const read of reads) {
      read.copy(buffer)
      wire.onread.callback(read.length, buffer)
      buffer.fill('#', 0, read.length)
      await new Promise((resolve) => process.nextTick(resolve))
    }
  }
  return seen
}

const cutAt = (stream: string, cuts: readonly number[]) => {
  const bytes = Buffer.from(stream, 'latin1')
  const edges = [0, ...[...cuts].sort((a, b) => a - b).filter((cut) => cut < bytes.length), bytes.length]
  return edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge))
}

describe('wire', () => {
  it('gives head and end to the library and the chunks to the request, in any pieces', async () => {
    const bodies = fc.array(fc.string({ minLength: 1, maxLength: 40, unit: 'binary-ascii' }), { maxLength: 6 })
    const cuts = fc.array(fc.nat({ max: 400 }), { maxLength: 6 })
    await fc.assert(
      fc.asyncProperty(bodies, cuts, async (texts, at) => {
        const stream = HEAD + texts.map(chunk).join('') + END
        expect(await play(cutAt(stream, at))).toEqual({ library: HEAD + END, body: texts.join(''), broken: false })
      }),
    )
    const stream = HEAD + chunk('data: a\n\n') + chunk('b'.repeat(300)) + END
    const bytes = cutAt(
      stream,
      [...stream].map((_, at) => at),
    )
    expect(await play(bytes)).toEqual({
      library: HEAD + END,
      body: `data: a\n\n${'b'.repeat(300)}`,
      broken: false,
    })
  })

  it('gives all of a body to the library that is not to be taken', async () => {
    const stream = HEAD + chunk('{"error":1}') + END
    for (const cuts of [[], [HEAD.length], [HEAD.length + 3]]) {
      expect(await play(cutAt(stream, cuts), false)).toEqual({ library: stream, body: '', broken: false })
    }
  })

  it('passes informational heads on and waits for the real one', async () => {
    const early = 'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n'
    const seen = await play(cutAt(early + HEAD + chunk('a') + END, []))
    expect(seen).toEqual({ library: early + HEAD + END, body: 'a', broken: false })
  })

  it.each(['5;name=value\r\nhello\r\n', 'xyz\r\n', '\r\n', '12345678\r\n', '0\r\nx-trailer: 1\r\n\r\n', '5\nhello\n'])(
    'leaves what is odd at the start of a chunk to the library: %j',
    async (odd) => {
      const seen = await play(cutAt(HEAD + chunk('a') + odd, []))
      expect(seen).toEqual({ library: HEAD + odd, body: 'a', broken: false })
    },
  )

  it('tells of a chunk that does not end where its size says', async () => {
    expect(await play(cutAt(`${HEAD}3\r\nabcdef\r\n`, []))).toMatchObject({ body: 'abc', broken: true })
  })

  it('starts again with the next response on the same socket', async () => {
    const stream = HEAD + chunk('a') + END
    expect(await play(cutAt(stream, [7]), true, 3)).toEqual({
      library: (HEAD + END).repeat(3),
      body: 'aaa',
      broken: false,
    })
  })
})
