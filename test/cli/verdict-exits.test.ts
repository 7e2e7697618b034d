import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { VERDICT_EXITS } from '../../src/cli/run-output.js'

it('every verdict has the exit code that docs/verdict.md states, and only what counts exits with 0', () => {
  const text = readFileSync(new URL('../../docs/verdict.md', import.meta.url), 'utf8')
  const stated = Object.fromEntries(
    [...text.matchAll(/^\| ([A-Z-]+) \| .* \| (\d+) \|$/gm)].map(([, verdict, code]) => [verdict!, Number(code)]),
  )
  expect(stated).toEqual(VERDICT_EXITS)
  expect(new Set([VERDICT_EXITS.VALID, VERDICT_EXITS.INVALID, VERDICT_EXITS['NO-STEADY-STATE']]).size).toBe(3)
})
