import { Failure } from '../../failure.js'
import type { RequestRecord, Tool, ToolColumn } from '../../result/schema.js'
import { type ToolWindow, toolColumn } from '../compatibility.js'
import { readAiperf } from './aiperf.js'
import { readGuidellm } from './guidellm.js'
import { isJson, type Json, parseJson } from './shape.js'
import { readVllm } from './vllm.js'

/** A published result of another tool, in the shape of our own column of that tool. What its file does not tell is null. */
export interface ForeignResult {
  tool: Tool
  /** Of the tool, as its file says; null: it does not. */
  version: string | null
  column: ToolColumn
  model: string | null
  requestsOk: number | null
  requestsFailed: number | null
  concurrency: number | null
  notes: string[]
  /** The tool's own events of each successful request, when the file holds them all. */
  events: ForeignEvents | null
}

/** Times from the first send, not our clock: good for this tool's column only. */
export interface ForeignEvents {
  records: RequestRecord[]
  /** The first send on the tool's clock, ns: wall clock since 1970 (exact to 256 ns), or the monotonic clock of its host. */
  originNs: number
  clock: 'wall' | 'monotonic'
  /** What the tool divided counts by; null: the file does not tell, from the first start to the last end. */
  window: ToolWindow | null
}

/** The releases whose files were read and checked. */
export const CHECKED = { 'vllm bench serve': '0.32.0', guidellm: '0.8.1', aiperf: '0.13.0' } as const

/**
 * Reads a result file of `vllm bench serve` (--save-result, with or without --save-detailed, also --append-result), guidellm (kind=json: one
 * result a benchmark) or aiperf (profile_export_aiperf.json; `records`: its profile_export.jsonl or profile_export_raw.jsonl), told apart by
 * their keys. Throws Failure('bad-result') that names the field and the fix.
 */
export function readForeignResult(text: string, file: string, records?: string): ForeignResult[] {
  return readLines(text, file).flatMap((value) => {
    if (Array.isArray(value['benchmarks'])) return readGuidellm(value, file)
    if (isJson(value['request_latency']) || 'aiperf_version' in value) return [readAiperf(value, file, records)]
    if ('output_throughput' in value && 'completed' in value) return [readVllm(value, file)]
    throw new Failure(
      'bad-result',
      `${file}: not a result of vllm bench serve, guidellm or aiperf: none of the fields output_throughput, benchmarks, request_latency is there`,
      'give the file of vllm bench serve --save-result, guidellm --output kind=json, or aiperf’s profile_export_aiperf.json',
    )
  })
}

/** The tool's column, computed by us from its own events; null without them. It must be what the tool printed. */
export function fromEvents(result: ForeignResult): ToolColumn | null {
  if (result.events === null) return null
  return toolColumn(result.tool, result.events.records, result.events.window ?? undefined)
}

/** One JSON value, or one a line (vllm bench serve --append-result). */
function readLines(text: string, file: string): Json[] {
  const lines = text.trim().split('\n')
  const several = lines.length > 1 && lines.every((line) => line.startsWith('{'))
  return several ? lines.map((line, index) => parseJson(line, `${file}, line ${index + 1}`)) : [parseJson(text, file)]
}
