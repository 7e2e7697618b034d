import { readFileSync } from 'node:fs'
import Table from 'cli-table3'
import { Failure } from '../failure.js'
import { DEFINITIONS, toolColumns } from '../metrics/compatibility.js'
import { type ForeignResult, readForeignResult } from '../metrics/foreign/result.js'
import { readRun } from '../result/read.js'
import type { ToolColumn, ToolStats } from '../result/schema.js'

/**
 * `bench compat RUN`: a run as `vllm bench serve`, guidellm and aiperf would have reported it, from the same events; `--with FILE` sets a
 * result file of one of them beside its column, so that a published number can be checked.
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
  const foreign = options.with === undefined ? [] : readForeignResult(readFile(options.with), options.with)
  process.stdout.write(
    `${target}, block ${block.manifest.index}, as other tools would report it (p50 / p99, ms)\n${render(toolColumns(block.records), foreign)}\n`,
  )
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new Failure('bad-file', `cannot read ${path}: ${(cause as Error).message}`, null, { cause })
  }
}

function render(columns: readonly ToolColumn[], foreign: readonly ForeignResult[]): string {
  const all = columns.flatMap((column) => [
    { head: column.tool, column },
    ...foreign
      .filter((result) => result.tool === column.tool)
      .map((result) => ({ head: `${result.tool}: its file`, column: result.column })),
  ])
  const table = new Table({ head: ['', ...all.map((entry) => entry.head)], style: { head: [], border: [] } })
  const row = (name: string, cell: (column: ToolColumn) => string) =>
    table.push([name, ...all.map((entry) => cell(entry.column))])
  row('TTFT', (column) => stats(column.ttftMs))
  row('TPOT', (column) => stats(column.tpotMs))
  row('ITL', (column) => stats(column.itlMs))
  row('e2e', (column) => stats(column.e2eMs))
  row('output tok/s', (column) => column.outputTokensPerSecond?.toFixed(1) ?? '-')
  row('requests/s', (column) => column.requestsPerSecond?.toFixed(2) ?? '-')
  const definitions = Object.entries(DEFINITIONS).map(
    ([tool, text]) => `${tool}: TTFT ${text.ttft}; TPOT ${text.tpot}; ITL ${text.itl}; throughput ${text.throughput}`,
  )
  return `${table.toString()}\n${definitions.join('\n')}`
}

function stats(value: ToolStats | null): string {
  return value === null ? '-' : `${value.p50.toFixed(2)} / ${value.p99?.toFixed(2) ?? '-'}`
}
