import { describe, expect, test } from 'vitest'
import { renderHtml } from '../../reports/html.js'
import type { ReportInput } from '../../reports/input.js'
import { renderJson } from '../../reports/json.js'
import { renderJunit } from '../../reports/junit.js'
import { renderMarkdown } from '../../reports/markdown.js'
import { renderTerminal } from '../../reports/terminal.js'
import { Interrupt } from '../../src/cli/interrupt.js'
import { Progress } from '../../src/cli/progress.js'
import { exitCodeOf, verdictLine } from '../../src/cli/run-output.js'
import type { Validity, ValidityReason } from '../../src/result/schema.js'
import { combine } from '../../src/statistics/validity.js'
import { fixture } from './fixture.js'

const reason = (severity: ValidityReason['severity'], code: string): ValidityReason => ({
  ...{ code, severity, evidence: `${code} was seen`, fix: `mend the ${code} first` },
})

const CASES: [Validity, ValidityReason[], exit: number][] = [
  ['VALID', [], 0],
  ['INVALID', [reason('invalid', 'errors'), reason('invalid', 'client')], 3],
  ['NO-STEADY-STATE', [reason('no-steady-state', 'steady')], 5],
  ['UNVERIFIED', [reason('unverified', 'coverage')], 0],
]

function withVerdict(reasons: ValidityReason[]): ReportInput {
  const input = fixture({ blocksPerTarget: 1, requests: 24 })
  input.summary.verdict = combine(reasons)
  for (const target of input.summary.targets) target.verdict = combine(reasons)
  return input
}

describe.each(CASES)('a run that is %s', (validity, reasons, exit) => {
  const input = withVerdict(reasons)

  test('says so in the terminal, in Markdown and on the page, with every reason and its fix', async () => {
    const terminal = renderTerminal(input, { width: 100, color: false, ascii: false })
    const markdown = renderMarkdown(input)
    const page = await renderHtml(input)
    expect(terminal).toMatch(new RegExp(`^${validity === 'VALID' ? 'paged' : `${validity}: paged`} gives`))
    expect(terminal).toContain(`${validity}: 2 blocks`)
    expect(markdown).toContain(`${validity}: 2 blocks`)
    expect(page).toContain(`<li class="${validity}">${validity}</li>`)
    for (const { code, severity, evidence, fix } of reasons) {
      expect(terminal).toContain(`${severity} ${code}: ${evidence}\n  fix: ${fix}`)
      expect(markdown).toContain(`- ${code}: ${evidence} (fix: ${fix})`)
      expect(page).toContain(`<li>${code}: ${evidence}<small>Fix: ${fix}</small></li>`)
    }
    if (reasons.length === 0) for (const text of [terminal, markdown]) expect(text).not.toMatch(/\bfix: /)
  })

  test('says so in JSON and JUnit, with every reason and its fix', () => {
    expect(JSON.parse(renderJson(input)).summary.verdict).toEqual({ validity, reasons })
    const junit = renderJunit(input)
    const run = junit.split('\n').find((line) => line.includes('classname="validity" name="run"'))!
    expect(run).toContain({ VALID: '<system-out>', INVALID: '<failure ' }[validity as string] ?? '<skipped ')
    for (const { code, evidence, fix } of reasons) expect(run).toContain(`${code}: ${evidence}; fix: ${fix}`)
  })

  test(`ends with exit code ${exit}, and stderr names the reasons`, () => {
    const interrupt = new Interrupt(new Progress(true))
    expect(exitCodeOf(input.summary, interrupt, 'results/x')).toBe(exit)
    const line = verdictLine(input.summary)
    if (reasons.length === 0) expect(line).toBeNull()
    else expect(line).toBe(`verdict ${validity} (exit ${exit}): ${reasons.map(({ code }) => code).join(', ')}`)
  })
})
