import type { Comparison, Verdict } from '../src/result/schema.js'
import { escapeHtml } from './clean.js'
import { formatInterval, formatNumber, formatRatio } from './format.js'
import type { ReportInput } from './input.js'

interface TestCase {
  suite: string
  name: string
  result: 'passed' | 'failed' | 'skipped'
  message: string
}

/** JUnit XML: one test case a compared metric, one a target's validity. Regressed fails; what decides nothing is skipped, with its reason. */
export function renderJunit(input: ReportInput): string {
  const { summary, run } = input
  const cases = [
    ...summary.targets.map((target) => validityCase(target.target, target.verdict)),
    validityCase('run', summary.verdict),
    ...summary.comparisons.map(comparisonCase),
  ]
  const count = (result: TestCase['result']) => cases.filter((entry) => entry.result === result).length
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="pagedbench" tests="${cases.length}" failures="${count('failed')}" skipped="${count('skipped')}">`,
    `  <testsuite name="${escapeHtml(run.manifest.id)}" tests="${cases.length}" failures="${count('failed')}" skipped="${count('skipped')}" errors="0" timestamp="${escapeHtml(run.manifest.startedAt)}">`,
    ...cases.map(drawCase),
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n')
}

function validityCase(name: string, verdict: Verdict): TestCase {
  const reasons = verdict.reasons.filter((reason) => reason.severity !== 'note')
  const message = `${verdict.validity}${reasons.map((reason) => `; ${reason.code}: ${reason.evidence}; fix: ${reason.fix}`).join('')}`
  const result = verdict.validity === 'VALID' ? 'passed' : verdict.validity === 'INVALID' ? 'failed' : 'skipped'
  return { suite: 'validity', name, result, message }
}

function comparisonCase(row: Comparison): TestCase {
  const interval = formatInterval(row.ratioLow, row.ratioHigh, formatRatio)
  const values = `${formatNumber(row.baseValue)} -> ${formatNumber(row.headValue)} ${row.unit}, ratio ${formatRatio(row.ratio)} ${interval}, n ${row.n}`
  const decided = row.verdict === 'improved' || row.verdict === 'equivalent'
  return {
    suite: `${row.base} to ${row.head}`,
    name: row.metric,
    result: row.verdict === 'regressed' ? 'failed' : decided ? 'passed' : 'skipped',
    message: [`${row.verdict}: ${values}`, row.note].filter(Boolean).join('; '),
  }
}

function drawCase({ suite, name, result, message }: TestCase): string {
  const open = `    <testcase classname="${escapeHtml(suite)}" name="${escapeHtml(name)}"`
  if (result === 'passed') return `${open}><system-out>${escapeHtml(message)}</system-out></testcase>`
  const tag = result === 'failed' ? 'failure' : 'skipped'
  return `${open}><${tag} message="${escapeHtml(message)}"/></testcase>`
}
