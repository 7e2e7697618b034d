import { Failure } from '../failure.js'
import type { Tool, ToolColumn, ToolStats } from '../result/schema.js'
import { DEFINITIONS } from './compatibility.js'

/** A published result of another tool, in the shape of our own column of that tool. */
export interface ForeignResult {
  tool: Tool
  column: ToolColumn
  model: string | null
  requestsOk: number | null
  requestsFailed: number | null
  concurrency: number | null
  notes: string[]
}

type Json = Record<string, unknown>

/**
 * Reads a result file of `vllm bench serve` (--save-result), guidellm (benchmarks.json: one result a benchmark) or aiperf
 * (profile_export_aiperf.json), told apart by their keys. Throws Failure('bad-result').
 */
export function readForeignResult(text: string, file: string): ForeignResult[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new Failure('bad-result', `${file}: not JSON: ${(cause as Error).message}`, null, { cause })
  }
  if (isJson(value)) {
    if ('mean_ttft_ms' in value) return [readVllm(value)]
    if (Array.isArray(value['benchmarks'])) return value['benchmarks'].filter(isJson).map(readGuidellm)
    if (isJson(value['time_to_first_token']) || isJson(value['request_latency'])) return [readAiperf(value)]
  }
  throw new Failure('bad-result', `${file}: not a result of vllm bench serve, guidellm or aiperf`)
}

function readVllm(value: Json): ForeignResult {
  const stats = (name: string): ToolStats | null => {
    const mean = number(value[`mean_${name}_ms`])
    const p50 = number(value[`median_${name}_ms`])
    const p99 = number(value[`p99_${name}_ms`])
    return mean === null || p50 === null ? null : { mean, p50, p99: p99 ?? Number.NaN }
  }
  return {
    tool: 'vllm bench serve',
    column: {
      tool: 'vllm bench serve',
      how: DEFINITIONS['vllm bench serve'],
      ttftMs: stats('ttft'),
      tpotMs: stats('tpot'),
      itlMs: stats('itl'),
      e2eMs: stats('e2el'),
      outputTokensPerSecond: number(value['output_throughput']),
      requestsPerSecond: number(value['request_throughput']),
    },
    model: string(value['model_id']),
    requestsOk: number(value['completed']),
    requestsFailed: number(value['failed']),
    concurrency: number(value['max_concurrency']),
    notes: ['a stream that was cut counts as a success in this tool'],
  }
}

function readGuidellm(benchmark: Json): ForeignResult {
  const metrics = isJson(benchmark['metrics']) ? benchmark['metrics'] : {}
  const successful = (name: string): Json | null => {
    const metric = metrics[name]
    return isJson(metric) && isJson(metric['successful']) ? metric['successful'] : null
  }
  const stats = (name: string, factor = 1): ToolStats | null => {
    const found = successful(name)
    if (found === null) return null
    const percentiles = isJson(found['percentiles']) ? found['percentiles'] : {}
    const [mean, p50, p99] = [found['mean'], percentiles['p50'] ?? found['median'], percentiles['p99']].map(number)
    return mean == null || p50 == null
      ? null
      : { mean: mean * factor, p50: p50 * factor, p99: (p99 ?? Number.NaN) * factor }
  }
  const totals = isJson(metrics['request_totals']) ? metrics['request_totals'] : {}
  return {
    tool: 'guidellm',
    column: {
      tool: 'guidellm',
      how: DEFINITIONS.guidellm,
      ttftMs: stats('time_to_first_token_ms'),
      tpotMs: stats('time_per_output_token_ms'),
      itlMs: stats('inter_token_latency_ms'),
      e2eMs: stats('request_latency', 1000),
      outputTokensPerSecond: number(successful('output_tokens_per_second')?.['mean']),
      requestsPerSecond: number(successful('requests_per_second')?.['mean']),
    },
    model: null,
    requestsOk: number(totals['successful']),
    requestsFailed: number(totals['errored']),
    concurrency: null,
    notes: ['TPOT of this tool includes TTFT', 'a missing TTFT or ITL is 0 in this tool'],
  }
}

function readAiperf(value: Json): ForeignResult {
  const metric = (name: string): Json | null => (isJson(value[name]) ? value[name] : null)
  const stats = (name: string): ToolStats | null => {
    const found = metric(name)
    const factor = found?.['unit'] === 's' || found?.['unit'] === 'sec' ? 1000 : 1
    const [mean, p50, p99] = [found?.['avg'], found?.['p50'], found?.['p99']].map(number)
    return mean == null || p50 == null
      ? null
      : { mean: mean * factor, p50: p50 * factor, p99: (p99 ?? Number.NaN) * factor }
  }
  return {
    tool: 'aiperf',
    column: {
      tool: 'aiperf',
      how: DEFINITIONS.aiperf,
      ttftMs: stats('time_to_first_token'),
      tpotMs: null,
      itlMs: stats('inter_token_latency'),
      e2eMs: stats('request_latency'),
      outputTokensPerSecond: number(metric('output_token_throughput')?.['avg']),
      requestsPerSecond: number(metric('request_throughput')?.['avg']),
    },
    model: null,
    requestsOk: number(metric('request_count')?.['avg']),
    requestsFailed: number(metric('error_request_count')?.['avg']),
    concurrency: null,
    notes: ['errors are in the denominator of throughput in this tool'],
  }
}

function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null
}

function string(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
