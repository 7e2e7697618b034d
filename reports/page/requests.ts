import { gzipSync } from 'node:zlib'
import { Failure } from '../../src/failure.js'
import type { RunData } from '../../src/result/read.js'
import { counted, formatBytes } from '../format.js'

/** 'auto': requests when they are small, else summary. */
export type ReportData = 'auto' | 'summary' | 'requests' | 'tokens'

export interface PackedRequests {
  /** gzip of JSON lines, base64. */
  base64: string
  note: string
}

const MAX_BYTES = 10e6
const AUTO_BYTES = 150e3

/** The raw records that travel inside the page. Prompts and answers only when asked for. Throws Failure('usage') beyond 10 MB. */
export function packRequests(run: RunData, data: ReportData, includeText: boolean): PackedRequests | null {
  if (data === 'summary') return null
  const lines: string[] = []
  for (const { manifest, records } of run.blocks)
    for (const record of records) {
      const text = includeText ? {} : { text: null, tokenIds: null }
      const tokens = data === 'tokens' ? {} : { readNs: [], readTokens: [], readFrames: [] }
      lines.push(JSON.stringify({ block: manifest.index, target: manifest.target, ...record, ...text, ...tokens }))
    }
  const base64 = gzipSync(lines.join('\n') + '\n', { level: 9 }).toString('base64')
  if (data === 'auto' && base64.length > AUTO_BYTES) return null
  if (base64.length > MAX_BYTES)
    throw new Failure(
      'usage',
      `the raw records would make the report ${formatBytes(base64.length)} larger`,
      data === 'tokens' ? 'use --report-data requests' : 'use --report-data summary',
    )
  const detail =
    data === 'tokens'
      ? 'with the time of every token'
      : 'without the times of single tokens (--report-data tokens adds them)'
  return {
    base64,
    note: `${counted(lines.length, 'raw request record')}, ${detail}; ${includeText ? 'with' : 'without'} prompts and answers.`,
  }
}
