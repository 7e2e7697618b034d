import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import Table from 'cli-table3'
import { judgeSlo } from '../metrics/slo.js'
import { type RunData, readRun } from '../result/read.js'
import type { Summary } from '../result/schema.js'
import { writeAtomically } from '../result/store.js'
import { summarize } from '../result/summarize.js'
import { atLoad, type LoadPoint, nextProbe, type Probe, searchResult, sweepPoints } from '../scenario/sweep.js'
import type { Scenario, Search } from '../scenario/types.js'
import type { Interrupt } from './interrupt.js'
import { reportCommand } from './report.js'
import { exitCodeOf } from './run-output.js'
import { type RunSetting, runPoint } from './run-point.js'

/** One finished load of a sweep or search, per target. */
export interface FrontierRow {
  variable: string
  value: number
  target: string
  outputTokensPerSecond: number | null
  requestsPerSecond: number | null
  ttftP50Ms: number | null
  itlP50Ms: number | null
  e2eP50Ms: number | null
  meetsSlo: boolean
  slo: string[]
  validity: string
  folder: string
}

type SweepSetting = RunSetting & { interrupt: Interrupt }

export function isSweep(scenario: Scenario): boolean {
  return scenario.sweep !== null || scenario.search !== null
}

/**
 * load.sweep: every value in turn; load.search: bisection for the highest load that meets the SLO on the first target. Each load is a
 * run of its own in <dir>/<variable>-<value>; one that is already complete there is taken as it is, so an interrupted sweep resumes.
 */
export async function runSweep(scenario: Scenario, setting: SweepSetting): Promise<number> {
  mkdirSync(setting.directory, { recursive: true })
  const rows: FrontierRow[] = []
  const visit = async (point: LoadPoint): Promise<FrontierRow[]> => {
    const found = await visitPoint(point, setting)
    rows.push(...found)
    writeAtomically(
      join(setting.directory, 'frontier.json'),
      `${JSON.stringify({ schema: 'pagedbench/frontier@1', rows }, null, 2)}\n`,
    )
    return found
  }
  if (scenario.search !== null) await search(scenario, scenario.search, setting, visit)
  else
    for (const point of sweepPoints(scenario)) {
      if (setting.interrupt.signal.aborted) break
      await visit(point)
    }
  await reportCommand([setting.directory], { format: 'html' })
  process.stdout.write(renderFrontier(rows))
  return setting.interrupt.signal.aborted ? exitCodeOf(null, setting.interrupt, setting.directory) : 0
}

async function search(
  scenario: Scenario,
  range: Search,
  setting: SweepSetting,
  visit: (point: LoadPoint) => Promise<FrontierRow[]>,
): Promise<void> {
  const probes: Probe[] = []
  for (
    let value = nextProbe(range, probes);
    value !== null && !setting.interrupt.signal.aborted;
    value = nextProbe(range, probes)
  ) {
    const [row] = await visit({ variable: range.variable, value, scenario: atLoad(scenario, range.variable, value) })
    probes.push({ value, meets: row?.meetsSlo ?? false })
    setting.progress.phase(
      `${range.variable} ${value}: ${row?.meetsSlo ? 'meets' : 'misses'} the SLO (${row?.slo.join('; ') ?? 'no data'})`,
    )
  }
  const { best, failing, unbounded } = searchResult(range, probes)
  const limit = unbounded ? 'and more was not tried' : `the next that failed: ${failing ?? 'none'}`
  process.stdout.write(
    best === null
      ? `no ${range.variable} in the range meets the SLO\n`
      : `highest ${range.variable} that meets the SLO: ${best} (${limit})\n`,
  )
}

async function visitPoint(point: LoadPoint, setting: SweepSetting): Promise<FrontierRow[]> {
  const folder = `${point.variable}-${point.value}`
  const directory = join(setting.directory, folder)
  const { data, summary } = finished(directory) ?? (await runPoint(point.scenario, { ...setting, directory }))
  return summary.targets.map((target) => {
    const block = data.blocks.find((entry) => entry.manifest.target === target.target)
    const slo = judgeSlo(block?.records ?? [], point.scenario.slo)
    const metrics = summary.blocks.find((entry) => entry.target === target.target)
    return {
      variable: point.variable,
      value: point.value,
      target: target.target,
      outputTokensPerSecond: target.outputTokensPerSecond,
      requestsPerSecond: metrics?.requestsPerSecond ?? null,
      ttftP50Ms: target.ttftP50Ms,
      itlP50Ms: target.itlP50Ms,
      e2eP50Ms: target.e2eP50Ms,
      meetsSlo: slo.meets,
      slo: slo.lines,
      validity: target.verdict.validity,
      folder,
    }
  })
}

/** A complete run of an earlier, interrupted sweep. */
function finished(directory: string): { data: RunData; summary: Summary } | null {
  if (!existsSync(join(directory, 'manifest.json'))) return null
  const data = readRun(directory)
  return data.manifest.status === 'complete' ? { data, summary: summarize(data) } : null
}

function renderFrontier(rows: readonly FrontierRow[]): string {
  const table = new Table({
    head: ['load', 'target', 'output tok/s', 'TTFT p50 ms', 'ITL p50 ms', 'e2e p50 ms', 'SLO', 'validity'],
    style: { head: [], border: [] },
  })
  const figure = (value: number | null) => (value === null ? '-' : value.toFixed(value >= 100 ? 0 : 1))
  for (const row of rows)
    table.push([
      `${row.variable} ${row.value}`,
      row.target,
      figure(row.outputTokensPerSecond),
      figure(row.ttftP50Ms),
      figure(row.itlP50Ms),
      figure(row.e2eP50Ms),
      row.meetsSlo ? 'met' : 'missed',
      row.validity,
    ])
  return `${table.toString()}\n`
}
