import { readFileSync } from 'node:fs'
import { Failure } from '../failure.js'
import type { TraceFormat } from './types.js'

/** One request of a recorded trace. `blocks`: ids of its prompt's leading blocks of `blockTokens` tokens; equal ids hold equal tokens. */
export interface TraceRow {
  atMs: number
  inputTokens: number
  outputTokens: number
  blocks: number[] | null
}

export interface Trace {
  rows: TraceRow[]
  blockTokens: number
  notes: string[]
}

/** One hash id of a Mooncake trace stands for 512 tokens (Mooncake, FAST 2025, trace release). */
const MOONCAKE_BLOCK_TOKENS = 512

/**
 * Reads a trace; the format is told by `format` or by the first line. Rows sorted by time. Throws Failure('bad-file') naming the line.
 *   mooncake  JSONL timestamp (ms), input_length, output_length, hash_ids
 *   azure     CSV TIMESTAMP, ContextTokens, GeneratedTokens
 *   burstgpt  CSV Timestamp (s), Model, Request tokens, Response tokens, ...: matched by header; 0 response tokens are failures, left out
 *   jsonl     ours: at_ms, in, out, prefix_blocks (optional; 512 tokens each)
 */
export function readTrace(file: string, format: TraceFormat | null): Trace {
  let lines: string[]
  try {
    lines = readFileSync(file, 'utf8')
      .replace(/^\ufeff/, '')
      .split(/\r?\n/)
  } catch (cause) {
    throw new Failure('bad-file', `cannot read the trace ${file}: ${(cause as Error).message}`, null, { cause })
  }
  const found = format ?? detect(lines[0] ?? '')
  if (found === null)
    throw new Failure(
      'bad-file',
      `${file}:1: no known trace format`,
      'give load.format: mooncake, azure, burstgpt or jsonl',
    )
  const parse = found === 'mooncake' || found === 'jsonl' ? jsonRow(found) : csvRow(found, lines.shift() ?? '', file)
  const firstLine = found === 'mooncake' || found === 'jsonl' ? 1 : 2
  const rows: TraceRow[] = []
  let failures = 0
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue
    const row = parse(line)
    if (row === null)
      throw new Failure('bad-file', `${file}:${index + firstLine}: not a ${found} row: ${line.slice(0, 80)}`)
    if (row.outputTokens === 0 || row.inputTokens === 0) failures++
    else rows.push(row)
  }
  if (rows.length === 0) throw new Failure('bad-file', `${file}: the trace holds no request`)
  rows.sort((a, b) => a.atMs - b.atMs)
  const notes = failures === 0 ? [] : [`${failures} rows of the trace without tokens (failed requests) are left out`]
  return { rows, blockTokens: MOONCAKE_BLOCK_TOKENS, notes }
}

function detect(first: string): TraceFormat | null {
  if (/^\s*\{/.test(first)) return first.includes('"input_length"') ? 'mooncake' : 'jsonl'
  if (/ContextTokens/i.test(first)) return 'azure'
  return /Request tokens/i.test(first) ? 'burstgpt' : null
}

function jsonRow(format: 'mooncake' | 'jsonl'): (line: string) => TraceRow | null {
  const keys =
    format === 'mooncake'
      ? ['timestamp', 'input_length', 'output_length', 'hash_ids']
      : ['at_ms', 'in', 'out', 'prefix_blocks']
  return (line) => {
    let value: Record<string, unknown>
    try {
      value = JSON.parse(line)
    } catch {
      return null
    }
    const [at, input, output, blocks] = keys.map((key) => value[key])
    const ids = Array.isArray(blocks) && blocks.every((id) => Number.isInteger(id)) ? (blocks as number[]) : null
    return checked({ atMs: Number(at), inputTokens: Number(input), outputTokens: Number(output), blocks: ids })
  }
}

/** Columns are matched by header: BurstGPT 2.0 has one more than 1.x. */
function csvRow(format: 'azure' | 'burstgpt', header: string, file: string): (line: string) => TraceRow | null {
  const names = header.split(',').map((name) => name.trim().toLowerCase())
  const wanted =
    format === 'azure'
      ? ['timestamp', 'contexttokens', 'generatedtokens']
      : ['timestamp', 'request tokens', 'response tokens']
  const columns = wanted.map((name) => names.indexOf(name))
  const missing = wanted.filter((_, index) => columns[index] === -1)
  if (missing.length > 0) throw new Failure('bad-file', `${file}:1: the header lacks ${missing.join(', ')}`)
  return (line) => {
    const cells = line.split(',')
    const [at, input, output] = columns.map((column) => (cells[column] ?? '').trim())
    const atMs = format === 'azure' ? dateMs(at!) : Number(at) * 1000
    return checked({ atMs, inputTokens: Number(input), outputTokens: Number(output), blocks: null })
  }
}

/** '2023-11-16 18:17:03.9799600', with or without a zone; seven decimals are cut to what Date reads. */
function dateMs(text: string): number {
  const match = /^(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})(\.\d+)?/.exec(text)
  if (match === null) return Number.NaN
  return Date.parse(`${match[1]}T${match[2]}Z`) + Number(match[3] ?? 0) * 1000
}

function checked(row: TraceRow): TraceRow | null {
  const whole = (value: number) => Number.isInteger(value) && value >= 0
  return Number.isFinite(row.atMs) && whole(row.inputTokens) && whole(row.outputTokens) ? row : null
}
