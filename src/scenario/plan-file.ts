import { readFileSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { Failure } from '../failure.js'
import type { PlanRow } from '../result/schema.js'
import { canonicalRow, PLAN_SCHEMA, planHash } from './plan.js'

const whole = z.int().min(0)
const row = z.strictObject({
  index: whole,
  phase: z.enum(['warmup', 'measure']),
  dueNs: whole.nullable(),
  inputTokens: z.int().min(1),
  outputTokens: z.int().min(1),
  prefixGroup: whole.nullable(),
  conversation: whole.nullable(),
  turn: whole.nullable(),
  thinkNs: whole,
  promptIds: z.array(whole).nullable(),
  prompt: z.string().nullable(),
  seed: whole,
})
const header = z.object({ schema: z.literal(PLAN_SCHEMA), hash: z.string(), requests: whole })

/** The plan as JSON lines: a header with the hash, then one canonical row a line. */
export function writePlanFile(file: string, rows: readonly PlanRow[]): void {
  const first = JSON.stringify({ schema: PLAN_SCHEMA, hash: planHash(rows), requests: rows.length })
  writeFileSync(file, [first, ...rows.map(canonicalRow), ''].join('\n'), { mode: 0o600 })
}

/** Reads what writePlanFile wrote. Throws Failure('bad-file') naming the line, also when the hash does not match. */
export function readPlanFile(file: string): PlanRow[] {
  const lines = readFileSync(file, 'utf8').split('\n')
  const parse = <T>(schema: z.ZodType<T>, at: number): T => {
    let value: unknown
    try {
      value = JSON.parse(lines[at] ?? '')
    } catch {
      throw new Failure('bad-file', `${file}:${at + 1}: not JSON`)
    }
    const parsed = schema.safeParse(value)
    if (parsed.success) return parsed.data
    const issue = parsed.error.issues[0]!
    throw new Failure('bad-file', `${file}:${at + 1}: ${issue.path.join('.')}: ${issue.message}`)
  }
  const { hash, requests } = parse(header, 0)
  const rows = Array.from({ length: requests }, (_, index) => parse(row, index + 1))
  if (planHash(rows) !== hash) throw new Failure('bad-file', `${file}: the rows do not match the hash in the header`)
  return rows
}
