import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseScenario } from '../../src/scenario/parse.js'
import { makePlan } from '../../src/scenario/plan.js'
import { readTrace } from '../../src/scenario/traces.js'

const folder = mkdtempSync(join(tmpdir(), 'traces-'))
const file = (name: string, text: string) => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}
const replay = (path: string, extra = '') =>
  makePlan(parseScenario(`workload: {}\nload: {replay: ${path}${extra}}\n`, 'replay.yaml'), { vocabSize: 32_000 })

describe('traces', () => {
  const mooncake = file(
    'mooncake.jsonl',
    [
      { timestamp: 1000, input_length: 700, output_length: 20, hash_ids: [1, 2] },
      { timestamp: 1500, input_length: 1100, output_length: 30, hash_ids: [1, 2, 3] },
      { timestamp: 4000, input_length: 513, output_length: 40, hash_ids: [1, 9] },
    ]
      .map((row) => JSON.stringify(row))
      .join('\n'),
  )
  const azure = file(
    'azure.csv',
    'TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n',
  )
  const burst = file(
    'burst.csv',
    'Timestamp,Conversation ID,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,c1,ChatGPT,472,18,490,Conversation log\n45,c2,ChatGPT,1087,0,1087,API log\n118,c1,GPT-4,417,276,693,Conversation log\n',
  )

  it('replays Mooncake: times from its start, equal hash ids give equal tokens', async () => {
    const { rows } = await replay(mooncake)
    expect(rows.map((row) => [row.dueNs, row.inputTokens, row.outputTokens])).toEqual([
      [0, 700, 20],
      [0.5e9, 1100, 30],
      [3e9, 513, 40],
    ])
    const [first, second, third] = rows.map((row) => row.promptIds!)
    expect(second!.slice(0, 700)).toEqual(first)
    expect(third!.slice(0, 512)).toEqual(first!.slice(0, 512))
    expect(third![512]).not.toBe(first![512])
  })

  it('stretches time by the scale and stops at the asked count', async () => {
    const { rows, line } = await replay(mooncake, ', scale: 2, requests: 2')
    expect(rows.map((row) => row.dueNs)).toEqual([0, 1e9])
    expect(line).toContain('its times x 2')
  })

  it('reads Azure’s seven decimals and BurstGPT’s columns by header, failed rows left out and counted', async () => {
    expect(readTrace(azure, null).rows.map((row) => row.atMs)).toEqual(
      [1_700_158_623_980, 1_700_158_624_032].map((ms) => expect.closeTo(ms, -1)),
    )
    const { rows, notes } = readTrace(burst, null)
    expect(rows).toEqual([
      { atMs: 5000, inputTokens: 472, outputTokens: 18, blocks: null },
      { atMs: 118_000, inputTokens: 417, outputTokens: 276, blocks: null },
    ])
    expect(notes).toEqual(['1 rows of the trace without tokens (failed requests) are left out'])
    const plan = await replay(azure)
    expect(plan.rows[1]!.dueNs).toBeCloseTo(52e6, -3)
  })

  // Half a second, two, two, ten, and none: the gaps of a trace are kept, stretched by the scale, whatever its format and its first instant.
  const atSecs = [3600, 3600.5, 3602.5, 3604.5, 3614.5, 3614.5]
  it.each([
    {
      format: 'mooncake',
      text: atSecs
        .map((at) => JSON.stringify({ timestamp: at * 1000, input_length: 5, output_length: 6, hash_ids: [1] }))
        .join('\n'),
    },
    {
      format: 'azure',
      text: `TIMESTAMP,ContextTokens,GeneratedTokens\n${atSecs
        .map((at) => `${new Date(at * 1000).toISOString().replace('T', ' ').replace('Z', '0000')},5,6`)
        .join('\n')}`,
    },
    {
      format: 'burstgpt',
      text: `Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n${atSecs
        .map((at) => `${at},ChatGPT,5,6,11,Conversation log`)
        .join('\n')}`,
    },
    { format: 'jsonl', text: atSecs.map((at) => JSON.stringify({ at_ms: at * 1000, in: 5, out: 6 })).join('\n') },
  ])('replays the times of $format at any scale, told by the format or found by itself', async ({ format, text }) => {
    const path = file(`times.${format}`, text)
    for (const scale of [1, 0.1, 4])
      for (const named of ['', `, format: ${format}`]) {
        const { rows, askedRate } = await replay(path, `, scale: ${scale}${named}`)
        const dueSecs = rows.map((row) => row.dueNs! / 1e9)
        expect(dueSecs).toEqual(atSecs.map((at) => expect.closeTo((at - atSecs[0]!) * scale, 6)))
        expect(rows.every((row) => row.inputTokens === 5 && row.outputTokens === 6)).toBe(true)
        expect(askedRate).toBeCloseTo(atSecs.length / (14.5 * scale), 6)
      }
  })

  it('reads our own lines', () => {
    const own = file(
      'own.jsonl',
      '{"at_ms": 10, "in": 5, "out": 6}\n{"at_ms": 3, "in": 7, "out": 8, "prefix_blocks": [4]}\n',
    )
    expect(readTrace(own, null).rows[0]).toEqual({ atMs: 3, inputTokens: 7, outputTokens: 8, blocks: [4] })
  })

  it.each([
    ['no known format', 'hello\n', /:1: no known trace format/],
    ['a broken line', '{"at_ms": 1, "in": 2, "out": 3}\n{"at_ms": 1, "in": -2}\n', /:2: not a jsonl row/],
    ['a header without its columns', 'TIMESTAMP,ContextTokens\n', /lacks generatedtokens/],
    ['nothing', '{"at_ms": 1, "in": 2, "out": 0}\n', /holds no request/],
  ])('refuses %s', (name, text, message) => {
    expect(() => readTrace(file(`${name}.bad`, text), null)).toThrow(message)
  })
})

describe('datasets', () => {
  const words = (count: number) => Array.from({ length: count }, (_, index) => `w${index}`).join(' ')
  const tokenizer = { name: 'words', encode: async (text: string) => text.split(' ').map((_, index) => index) }

  it('takes ShareGPT’s first turn and the length of its answer, within the limits', async () => {
    const entry = (input: number, output: number) => ({
      conversations: [
        { from: 'human', value: words(input) },
        { from: 'gpt', value: words(output) },
      ],
    })
    const entries = [
      entry(10, 20),
      entry(2000, 20),
      entry(1000, 1900),
      entry(3, 20),
      { conversations: [] },
      entry(30, 40),
    ]
    const path = file('sharegpt.json', JSON.stringify(entries))
    const text = `workload: {dataset: {file: ${path}, format: sharegpt}}\nload: {concurrency: 2, requests: 4}\n`
    const { rows, notes } = await makePlan(parseScenario(text, 'd.yaml'), { vocabSize: null, tokenizer })
    const lengths = rows.map((row) => `${row.inputTokens}/${row.outputTokens}`)
    expect(new Set(lengths)).toEqual(new Set(['10/20', '30/40']))
    expect(notes[0]).toBe('2 of 5 entries of the dataset fit the limits')
  })

  it('takes prompts a line, lengths from the workload where the file has none', async () => {
    const path = file('prompts.jsonl', '{"prompt": "tell me a tale", "output_tokens": 7}\nplain text here\n')
    const text = `workload: {output: 9, dataset: {file: ${path}, format: prompts}}\nload: {concurrency: 1, requests: 2}\n`
    const { rows } = await makePlan(parseScenario(text, 'd.yaml'), { vocabSize: null, tokenizer })
    expect(rows.map((row) => `${row.prompt}: ${row.inputTokens}/${row.outputTokens}`).sort()).toEqual([
      'plain text here: 3/9',
      'tell me a tale: 4/7',
    ])
  })
})
