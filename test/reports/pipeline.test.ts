import { describe, expect, test } from 'vitest'
import { renderJson } from '../../reports/json.js'
import { renderJunit } from '../../reports/junit.js'
import { renderMarkdown } from '../../reports/markdown.js'
import { fixture } from './fixture.js'

describe('Markdown', () => {
  test('has its marker, the finding first and one row a metric', () => {
    const text = renderMarkdown(fixture())
    expect(text).toMatch(/^<!-- pagedbench -->\n\n\*\*paged gives /)
    expect(text).toMatch(/\| output tok\/s \| [\d.]+ .*\| [\d.]+ .*\|/)
    const columns = text
      .split('\n')
      .filter((line) => line.startsWith('| '))
      .map((line) => line.match(/(?<!\\)\|/g)!.length)
    expect(new Set(columns.slice(0, 12))).toEqual(new Set([4]))
  })

  test('folds the engine’s own time per step', () => {
    expect(renderMarkdown(fixture())).toMatch(
      /<summary>The engine’s own time per step<\/summary>[\s\S]*\| 212 \/ 260 \|/,
    )
    expect(renderMarkdown(fixture({ steps: false }))).not.toContain('own time per step')
  })

  test('stays under what a comment can hold, and keeps the finding', () => {
    const input = fixture({ status: 'partial' })
    input.summary.notices = Array.from({ length: 3000 }, (_, index) => `notice ${index} ${'x'.repeat(80)}`)
    const text = renderMarkdown(input)
    expect(text.length).toBeLessThan(60_002)
    expect(text).toContain('**INVALID: paged gives')
    expect(text).toContain('interrupted')
  })
})

describe('JUnit', () => {
  test('counts what it holds: a regression fails, an undecided metric is skipped with its reason', () => {
    const input = fixture()
    Object.assign(input.summary.comparisons[1]!, { verdict: 'inconclusive', note: 'likely worse' })
    const text = renderJunit(input)
    const head = /tests="(\d+)" failures="(\d+)" skipped="(\d+)"/.exec(text)!.slice(1).map(Number)
    expect(head).toEqual([
      text.match(/<testcase /g)!.length,
      text.match(/<failure /g)!.length,
      text.match(/<skipped /g)!.length,
    ])
    expect(text).toMatch(/name="TPOT p50"><failure message="regressed: /)
    expect(text).toMatch(/name="TTFT p50"><skipped message="inconclusive: .*likely worse"/)
  })

  test('an invalid run fails with reason and fix, and hostile names stay text', () => {
    const input = fixture({ status: 'partial' })
    input.run.manifest.id = '"><testcase name="x'
    const text = renderJunit(input)
    expect(text).toMatch(/<failure message="INVALID; interrupted: .*fix: run again/)
    expect(text).not.toContain('"><testcase name="x')
  })
})

test('JSON carries the finding, the manifest and every derived number', () => {
  const input = fixture()
  const report = JSON.parse(renderJson(input))
  expect(report.schema).toBe('pagedbench/report@1')
  expect(report.finding).toContain('paged gives')
  expect(report.summary).toEqual(input.summary)
  expect(report.manifest).toEqual(input.run.manifest)
})
