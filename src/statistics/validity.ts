import type { ValidityReason, Verdict } from '../result/schema.js'
import { type BlockFacts, invalid, note, percent, RULES } from './rules.js'

export { type BlockFacts, RULES } from './rules.js'

/** The verdict of one block: every rule applied, in the order of the table. */
export function judgeBlock(facts: BlockFacts): Verdict {
  return combine(Object.values(RULES).flatMap((rule) => rule(facts) ?? []))
}

/** Rules over a whole run: unequal work or unequal answers make a comparison worthless. */
export interface RunFacts {
  /** Output tokens per target, of the blocks compared. */
  outputTokens: readonly { target: string; tokens: number }[]
  /** Share of greedy answers that differ, and whether the engines promise equality (CPU, or --deterministic). */
  answersDiffer: { base: string; head: string; share: number; promised: boolean } | null
  unequalWeights: boolean
  /** pagedbench's own work tree had uncommitted changes; null: no git here. */
  gitDirty: boolean | null
}

export function judgeRun(facts: RunFacts, blocks: readonly Verdict[]): Verdict {
  const reasons: ValidityReason[] = blocks.flatMap((verdict) => verdict.reasons)
  const counts = facts.outputTokens.map((entry) => entry.tokens)
  if (counts.length > 1 && Math.max(...counts) > 1.01 * Math.min(...counts)) {
    const work = facts.outputTokens.map((entry) => `${entry.target} ${entry.tokens}`).join(', ')
    reasons.push(
      invalid(
        'work',
        `targets produced unequal output tokens: ${work}`,
        'enforce lengths (ignore_eos) so that every target does the same work',
      ),
    )
  }
  if (facts.answersDiffer !== null && facts.answersDiffer.share > 0) {
    const { base, head, share, promised } = facts.answersDiffer
    const evidence = `${percent(share)} of greedy answers of ${head} differ from ${base}`
    reasons.push(
      promised
        ? invalid('answers', evidence, 'a faster engine with different answers does not count: this is a bug')
        : note(
            'answers',
            evidence,
            'expected where two logits are closer than bf16 rounding; --deterministic makes them equal',
          ),
    )
  }
  if (facts.unequalWeights)
    reasons.push(invalid('weights', 'targets do not run the same weights or dtype', 'compare engines on one model'))
  if (facts.gitDirty === true)
    reasons.push(
      note(
        'git',
        'pagedbench ran from a work tree with uncommitted changes: its commit does not name the code that measured',
        'commit (or git stash) and run again before publishing the figures',
      ),
    )
  return combine(deduplicate(reasons))
}

export function combine(reasons: readonly ValidityReason[]): Verdict {
  const has = (severity: ValidityReason['severity']) => reasons.some((reason) => reason.severity === severity)
  const validity = has('invalid')
    ? 'INVALID'
    : has('no-steady-state')
      ? 'NO-STEADY-STATE'
      : has('unverified')
        ? 'UNVERIFIED'
        : 'VALID'
  return { validity, reasons: [...reasons] }
}

function deduplicate(reasons: readonly ValidityReason[]): ValidityReason[] {
  return [...new Map(reasons.map((reason) => [`${reason.code} ${reason.evidence}`, reason])).values()]
}
