/**
 * The one table of the harness's error codes and their exit codes (never 1: Node exits 1 on an uncaught throw).
 * 2 usage, 3 the run failed, 4 incomparable, 10 regression, 11 inconclusive, 130 interrupted.
 */
export const FAILURES = {
  usage: 2,
  'unknown-flag': 2,
  'unknown-key': 2,
  'unknown-model': 2,
  'bad-scenario': 2,
  'bad-file': 2,
  'does-not-fit': 2,
  'port-in-use': 2,
  'target-unreachable': 3,
  'not-openai': 3,
  'engine-failed': 3,
  disk: 3,
  'run-invalid': 3,
  'missing-tool': 3,
  'bad-result': 3,
  incomparable: 4,
  regressed: 10,
  inconclusive: 11,
  interrupted: 130,
} as const
export type FailureCode = keyof typeof FAILURES

/** An error meant for the user: what is wrong and where, and the next step. Printed without a stack. */
export class Failure extends Error {
  constructor(
    readonly code: FailureCode,
    message: string,
    readonly fix: string | null = null,
    options?: { cause?: unknown },
  ) {
    super(message, options)
    this.name = 'Failure'
  }

  get exitCode(): number {
    return FAILURES[this.code]
  }
}

/** The candidate closest to `word` by edit distance (Levenshtein, 1966), when close enough to be meant. */
export function nearest(word: string, candidates: readonly string[]): string | null {
  let best: string | null = null
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) {
      bestDistance = distance
      best = candidate
    }
  }
  return best
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const current = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      current.push(Math.min(previous[j]! + 1, current[j - 1]! + 1, substitution))
    }
    previous = current
  }
  return previous[b.length]!
}
