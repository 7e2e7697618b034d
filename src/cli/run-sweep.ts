import { existsSync, mkdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { renderFrontierJson, renderFrontierMarkdown, renderFrontierTerminal } from '../../reports/frontier-text.js'
import { type FrontierPoint, frontierPoints } from '../result/frontier.js'
import { type RunData, readRun } from '../result/read.js'
import type { Summary } from '../result/schema.js'
import { writeAtomically } from '../result/store.js'
import { summarize } from '../result/summarize.js'
import { atLoad, type LoadPoint, nextProbe, type Probe, searchResult, sweepPoints } from '../scenario/sweep.js'
import type { Scenario, Search } from '../scenario/types.js'
import type { Interrupt } from './interrupt.js'
import { reportCommand } from './report.js'
import { exitCodeOf, VERDICT_EXITS } from './run-output.js'
import { type RunSetting, runPoint } from './run-point.js'

type SweepSetting = RunSetting & { interrupt: Interrupt }

export function isSweep(scenario: Scenario): boolean {
  return scenario.sweep !== null || scenario.search !== null
}

/**
 * load.sweep: every value in turn; load.search: bisection for the highest load that meets the SLO on the first target. Each load is a
 * run of its own in <dir>/<variable>-<value>; one that is already complete there is taken as it is, so an interrupted sweep resumes. 3 when
 * a load of the sweep, or the one that the search found, is INVALID (a search probes beyond what the target can take).
 */
export async function runSweep(scenario: Scenario, setting: SweepSetting): Promise<number> {
  mkdirSync(setting.directory, { recursive: true })
  const rows: FrontierPoint[] = []
  let found: number | null = null
  const visit = async (point: LoadPoint): Promise<FrontierPoint[]> => {
    const finished = await visitPoint(point, setting)
    rows.push(...finished)
    writeAtomically(
      join(setting.directory, 'frontier.json'),
      `${JSON.stringify({ schema: 'pagedbench/frontier@1', rows }, null, 2)}\n`,
    )
    return finished
  }
  if (scenario.search !== null) found = await search(scenario, scenario.search, setting, visit)
  else
    for (const point of sweepPoints(scenario)) {
      if (setting.interrupt.signal.aborted) break
      await visit(point)
    }
  await reportCommand([setting.directory], { format: 'html' })
  process.stdout.write(printed(rows, setting))
  const counted = scenario.search === null ? rows : rows.filter((row) => row.value === found)
  if (setting.interrupt.signal.aborted) return exitCodeOf(null, setting.interrupt, setting.directory)
  const worst = (['INVALID', 'NO-STEADY-STATE'] as const).find((verdict) =>
    counted.some((row) => row.validity === verdict),
  )
  return VERDICT_EXITS[worst ?? 'VALID']
}

/** stdout has the result only: a table, or what --json or --markdown asked for. */
function printed(rows: readonly FrontierPoint[], { request, directory }: SweepSetting): string {
  if (request.print === 'json') return renderFrontierJson(rows)
  if (request.print === 'markdown') return renderFrontierMarkdown(basename(directory), rows)
  const { color, ascii } = request
  return renderFrontierTerminal(rows, { color, ascii, width: process.stdout.columns ?? 120 })
}

async function search(
  scenario: Scenario,
  range: Search,
  setting: SweepSetting,
  visit: (point: LoadPoint) => Promise<FrontierPoint[]>,
): Promise<number | null> {
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
  // Beside the result on stdout, which may be JSON.
  process.stderr.write(
    best === null
      ? `no ${range.variable} in the range meets the SLO\n`
      : `highest ${range.variable} that meets the SLO: ${best} (${limit})\n`,
  )
  return best
}

async function visitPoint(point: LoadPoint, setting: SweepSetting): Promise<FrontierPoint[]> {
  const folder = `${point.variable}-${point.value}`
  const directory = join(setting.directory, folder)
  const { data, summary } = finished(directory) ?? (await runPoint(point.scenario, { ...setting, directory }))
  return frontierPoints({ variable: point.variable, value: point.value, folder }, data, summary)
}

/** A complete run of an earlier, interrupted sweep. */
function finished(directory: string): { data: RunData; summary: Summary } | null {
  if (!existsSync(join(directory, 'manifest.json'))) return null
  const data = readRun(directory)
  return data.manifest.status === 'complete' ? { data, summary: summarize(data) } : null
}
