import Table from 'cli-table3'
import { Failure } from '../failure.js'
import { toolColumns } from '../metrics/compatibility.js'
import { checkFigures, figuresOf } from '../metrics/foreign/check.js'
import { type ForeignResult, fromEvents } from '../metrics/foreign/result.js'
import { readRun } from '../result/read.js'
import type { ToolColumn } from '../result/schema.js'
import { readForeignFile } from './foreign-file.js'

/**
 * `bench compat RUN`: a run as `vllm bench serve`, guidellm and aiperf would have reported it, from the same events; `--with FILE` sets a
 * result file of one of them beside its column and, where the file holds events, computes its figures from these, so that a published
 * number can be checked. Throws Failure('usage' | 'bad-file' | 'bad-result').
 */
export function compatCommand(directory: string, options: { target?: string; with?: string }): void {
  const run = readRun(directory)
  const target = options.target ?? run.manifest.targets[0]?.name
  const block = run.blocks.find((entry) => entry.manifest.target === target)
  if (block === undefined)
    throw new Failure(
      'usage',
      `${directory} has no target '${target ?? ''}'`,
      `one of ${run.manifest.targets.map((entry) => entry.name).join(', ')}`,
    )
  const foreign = options.with === undefined ? [] : readForeignFile(options.with)
  const columns = toolColumns(block.records)
  const about = foreign.length === 0 ? ', as other tools would report it' : ` beside ${options.with}`
  process.stdout.write(
    [
      `${target}, block ${block.manifest.index}${about} (latencies in ms)`,
      foreign.length === 0 ? table(columns.map((column) => [column.tool, column])) : '',
      ...foreign.map((result) => beside(columns.find((column) => column.tool === result.tool)!, result)),
      ...columns.filter(({ tool }) => foreign.every((result) => result.tool === tool)).map(definition),
    ]
      .filter((part) => part !== '')
      .join('\n') + '\n',
  )
}

/** Our column of the tool, what its file says, and what its own events give. */
function beside(ours: ToolColumn, result: ForeignResult): string {
  const own = fromEvents(result)
  const heads: [string, ToolColumn][] = [
    [`this run, as ${result.tool} would`, ours],
    ['the file says', result.column],
    ...(own === null ? [] : [['from its events', own] as [string, ToolColumn]]),
  ]
  return [describe(result), table(heads), verdict(result, own), ...result.notes.map((note) => `note ${note}`)].join(
    '\n',
  )
}

export function describe(result: Omit<ForeignResult, 'events' | 'column' | 'notes'>): string {
  const { tool, version, model, requestsOk, requestsFailed, concurrency } = result
  const parts = [
    `${tool}${version === null ? '' : ` ${version}`}`,
    model === null ? null : `model ${model}`,
    requestsOk === null ? null : `${requestsOk} requests`,
    requestsFailed === null ? null : `${requestsFailed} failed`,
    concurrency === null ? null : `${concurrency} at a time`,
  ]
  return parts.filter((part) => part !== null).join(', ')
}

function verdict(result: ForeignResult, own: ToolColumn | null): string {
  if (own === null) return 'not checked: the file holds no events of its requests'
  const figures = checkFigures(result.column, own)
  const off = figures.filter((figure) => !figure.withinRounding)
  if (off.length === 0) return `checked: its ${figures.length} figures follow from its own events, within its rounding`
  const named = off.map(({ name, theirs, ours }) => `${name} ${theirs} where its events give ${ours}`)
  return `DOES NOT FOLLOW from its own events: ${named.join('; ')}`
}

function table(columns: readonly [head: string, column: ToolColumn][]): string {
  const values = columns.map(([, column]) => new Map(figuresOf(column)))
  const names = [...new Set(columns.flatMap(([, column]) => figuresOf(column).map(([name]) => name)))]
  const rows = new Table({ head: ['', ...columns.map(([head]) => head)], style: { head: [], border: [] } })
  for (const name of NAMES.filter((known) => names.includes(known)))
    rows.push([name, ...values.map((column) => column.get(name)?.toFixed(2) ?? '-')])
  return rows.toString()
}

const NAMES = [
  ...['TTFT', 'TPOT', 'ITL', 'e2e'].flatMap((name) => ['mean', 'p50', 'p90', 'p99'].map((part) => `${name} ${part}`)),
  'output tok/s',
  'requests/s',
  'total tok/s',
]

function definition({ tool, how }: ToolColumn): string {
  return `${tool}: TTFT ${how.ttft}; TPOT ${how.tpot}; ITL ${how.itl}; throughput ${how.throughput}`
}
