import { relative } from 'node:path'
import { renderHtml } from '../../reports/html.js'
import { renderJunit } from '../../reports/junit.js'
import { renderMarkdown } from '../../reports/markdown.js'
import { renderTerminal } from '../../reports/terminal.js'
import { Failure } from '../failure.js'
import type { RunData } from '../result/read.js'
import type { Summary } from '../result/schema.js'
import { type RunWriter, writeAtomically } from '../result/store.js'
import type { Plan } from '../scenario/plan.js'
import type { Scenario } from '../scenario/types.js'
import type { TargetSpec } from '../target.js'
import type { Interrupt } from './interrupt.js'
import { blockOrder } from './run-block.js'
import type { RunRequest } from './run-options.js'

/** `--dry-run`: what would be sent, to whom, in which order. */
export function describePlan(scenario: Scenario, plan: Plan, targets: readonly TargetSpec[]): number {
  const order = blockOrder(targets, scenario.repeats.max).map((block) => block.target.name)
  process.stdout.write(
    `scenario ${scenario.name}: ${scenario.description}\nplan     ${plan.line}\nhash     ${plan.hash}\n` +
      `blocks   ${order.join(', ')}\n${plan.notes.map((note) => `note     ${note}\n`).join('')}`,
  )
  return 0
}

/** Exit code of `bench run` for each verdict; UNVERIFIED stands in records of earlier versions only. */
export const VERDICT_EXITS = { VALID: 0, UNVERIFIED: 0, INVALID: 3, 'NO-STEADY-STATE': 5 } as const

/** By the run's verdict. A run stopped by Ctrl-C is a Failure that says where its part is. */
export function exitCodeOf(summary: Summary | null, interrupt: Interrupt, directory: string): number {
  if (interrupt.signal.aborted)
    throw new Failure(
      'interrupted',
      'stopped by Ctrl-C; what was measured is kept and marked partial',
      `bench report ${directory}`,
    )
  return summary === null ? 0 : VERDICT_EXITS[summary.verdict.validity]
}

export async function writeReports(
  run: RunWriter,
  data: RunData,
  summary: Summary,
  request: RunRequest,
): Promise<void> {
  run.writeSummary(summary)
  run.writeText('report.md', renderMarkdown({ run: data, summary }))
  run.writeText('report.html', await renderHtml({ run: data, summary }))
  if (request.junit !== null) writeAtomically(request.junit, renderJunit({ run: data, summary }))
}

/** stdout has the result only. */
export function printResult(data: RunData, summary: Summary, request: RunRequest): void {
  if (request.print === 'json') process.stdout.write(`${JSON.stringify(summary, null, 2)}\n`)
  else if (request.print === 'markdown') process.stdout.write(renderMarkdown({ run: data, summary }))
  else
    process.stdout.write(
      renderTerminal(
        { run: data, summary },
        {
          color: request.color,
          ascii: request.ascii,
          details: request.details,
          width: process.stdout.columns ?? 120,
        },
      ),
    )
  const line = verdictLine(summary)
  if (line !== null) process.stderr.write(`\n${line}`)
  process.stderr.write(`\nreport  ${relative(process.cwd(), data.directory)}/report.html\n`)
}

/** Why a run that is not VALID is not, by name, for those who see the exit code alone: the reasons with their fixes are in every report. */
export function verdictLine({ verdict }: Summary): string | null {
  if (verdict.validity === 'VALID') return null
  const codes = [
    ...new Set(verdict.reasons.filter((reason) => reason.severity !== 'note').map((reason) => reason.code)),
  ]
  return `verdict ${verdict.validity} (exit ${VERDICT_EXITS[verdict.validity]}): ${codes.join(', ')}`
}
