import { Failure } from '../failure.js'
import type { PlanRow } from '../result/schema.js'
import { nominalMean } from './lengths.js'
import type { Distribution, Scenario } from './types.js'

/**
 * Throws Failure('does-not-fit') when even a typical request of the scenario (mean prompt and mean answer, prefix included) exceeds the context.
 * Before the plan exists; checkPlanFits is exact.
 */
export function checkFits(scenario: Scenario, maxModelLen: number): void {
  for (const shape of scenario.workload.kind === 'synthetic' ? scenario.workload.shapes : []) {
    const total = Math.ceil(nominal(shape.input) + nominal(shape.output))
    if (total > maxModelLen) throw doesNotFit(scenario.name, `a typical request needs ${total} tokens`, maxModelLen)
  }
}

/** Throws Failure('does-not-fit') when any planned request (prompt plus answer) exceeds the context; says how many and the largest. */
export function checkPlanFits(rows: readonly PlanRow[], maxModelLen: number, name: string): void {
  const tooLong = rows.filter((row) => row.inputTokens + row.outputTokens > maxModelLen)
  if (tooLong.length === 0) return
  const largest = Math.max(...tooLong.map((row) => row.inputTokens + row.outputTokens))
  throw doesNotFit(
    name,
    `${tooLong.length} of ${rows.length} requests are too long, the largest ${largest} tokens`,
    maxModelLen,
  )
}

function nominal(distribution: Distribution): number {
  const mean = nominalMean(distribution)
  return distribution.dist === 'fixed' ? mean : Math.min(distribution.max, Math.max(distribution.min, mean))
}

function doesNotFit(name: string, what: string, maxModelLen: number): Failure {
  const fix = 'shorten the scenario (--input-tokens, --output-tokens), or serve with a larger --max-model-len'
  return new Failure('does-not-fit', `${name} does not fit a context of ${maxModelLen} tokens: ${what}`, fix)
}
