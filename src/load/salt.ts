import type { PlanRow } from '../result/schema.js'
import { type IdRange, randomIds } from '../scenario/prompts.js'
import { RandomStream } from '../scenario/random.js'
import type { CachePolicy } from '../scenario/types.js'
import { WORDS } from '../scenario/words.js'

/** Tokens of salt at the front of a prompt; they replace as many planned ones, so lengths stay as planned. */
const SALT_TOKENS = 8

/**
 * The prompts as they are sent. Under cache policy cold each row (or conversation) has a salt of its own, under shared the whole run has one; both are
 * new with each `salt` and no part of the plan hash. Length and id range of the salt are those of the plan, so rows that share tokens still do.
 */
export function saltedPrompts(
  rows: readonly PlanRow[],
  cache: CachePolicy,
  salt: string,
): (row: PlanRow) => number[] | string {
  const plain = (row: PlanRow) => row.promptIds ?? row.prompt ?? ''
  if (cache === 'as-is' || cache === 'warm') return plain
  const shortest = rows.reduce((least, row) => Math.min(least, row.inputTokens), Number.POSITIVE_INFINITY)
  const count = Math.min(SALT_TOKENS, Math.floor(shortest / 2))
  const range = usedRange(rows)
  return (row) => {
    const own = row.conversation === null ? `row ${row.index}` : `conversation ${row.conversation}`
    const random = new RandomStream(0, 'salt', salt, cache === 'cold' ? own : 'run')
    const prompt = plain(row)
    if (typeof prompt !== 'string') return [...randomIds(count, range, random), ...prompt.slice(count)]
    const words = Array.from({ length: count }, () => WORDS[random.integer(0, WORDS.length)]!)
    return [...words, ...prompt.split(' ').slice(count)].join(' ')
  }
}

/** The span of ids that the plan uses: certainly in the vocabulary. */
function usedRange(rows: readonly PlanRow[]): IdRange {
  const range: IdRange = { low: Number.POSITIVE_INFINITY, high: 0 }
  for (const row of rows) {
    for (const id of row.promptIds ?? []) {
      if (id < range.low) range.low = id
      if (id >= range.high) range.high = id + 1
    }
  }
  return range
}
