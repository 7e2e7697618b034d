import { median } from 'simple-statistics'
import type { RunFacts } from '../statistics/validity.js'
import type { RunData } from './read.js'
import type { AnswerComparison, RequestRecord, TargetInfo } from './schema.js'

/**
 * Greedy answers of the first built-in target against every other, request by request of the same plan row, from the first block of each
 * that kept token ids. Only rows that both finished count.
 */
export function compareAnswers(run: RunData): AnswerComparison[] {
  const temperature = (run.manifest.scenario as { sampling?: { temperature?: number } }).sampling?.temperature ?? 0
  if (temperature > 0) return []
  const [base, ...heads] = run.manifest.targets
    .filter((target) => target.kind === 'builtin')
    .map((target) => target.name)
  if (base === undefined) return []
  const baseAnswers = answersOf(run, base)
  return heads.flatMap((head) => {
    const headAnswers = answersOf(run, head)
    const both = [...baseAnswers.keys()].filter((index) => headAnswers.has(index))
    if (both.length === 0) return []
    const divergences = both
      .map((index) => firstDifference(baseAnswers.get(index)!, headAnswers.get(index)!))
      .filter((position): position is number => position !== null)
    return [
      {
        base,
        head,
        compared: both.length,
        equal: both.length - divergences.length,
        firstDivergence:
          divergences.length === 0 ? null : { min: Math.min(...divergences), median: median(divergences) },
      },
    ]
  })
}

/** For the verdict: are differing answers a bug? On CPU and with --deterministic equality is promised. */
export function differingAnswers(
  answers: readonly AnswerComparison[],
  targets: readonly TargetInfo[],
): RunFacts['answersDiffer'] {
  const worst = [...answers].sort((a, b) => a.equal / a.compared - b.equal / b.compared)[0]
  if (worst === undefined || worst.equal === worst.compared) return null
  const sides = targets.filter((target) => target.name === worst.base || target.name === worst.head)
  const promised = sides.every((target) => target.backend === 'cpu' || target.options['deterministic'] === true)
  return { base: worst.base, head: worst.head, share: 1 - worst.equal / worst.compared, promised }
}

function answersOf(run: RunData, target: string): Map<number, number[]> {
  const block = run.blocks.find(
    (data) => data.manifest.target === target && data.records.some((record: RequestRecord) => record.tokenIds !== null),
  )
  const answers = new Map<number, number[]>()
  for (const record of block?.records ?? [])
    if (record.outcome === 'ok' && record.tokenIds !== null) answers.set(record.index, record.tokenIds)
  return answers
}

function firstDifference(a: readonly number[], b: readonly number[]): number | null {
  const length = Math.max(a.length, b.length)
  for (let position = 0; position < length; position++) if (a[position] !== b[position]) return position
  return null
}
