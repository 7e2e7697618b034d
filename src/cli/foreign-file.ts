import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Failure } from '../failure.js'
import { type ForeignResult, readForeignResult } from '../metrics/foreign/result.js'

/**
 * A result file of another load generator. aiperf writes its records into files of their own: those beside `path` are read too (the raw
 * ones where they are, as they hold the time of every read). Throws Failure('bad-file' | 'bad-result').
 */
export function readForeignFile(path: string): ForeignResult[] {
  const text = readText(path)
  const records = /_aiperf\.json$/.test(path) ? recordsBeside(path) : null
  return readForeignResult(text, basename(path), records === null ? undefined : readText(records))
}

function recordsBeside(path: string): string | null {
  const prefix = basename(path).replace(/_aiperf\.json$/, '')
  const candidates = [`${prefix}_raw.jsonl`, `${prefix}.jsonl`].map((name) => join(dirname(path), name))
  return candidates.find((candidate) => existsSync(candidate)) ?? null
}

/** Throws Failure('bad-file'). */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new Failure('bad-file', `cannot read ${path}: ${(cause as Error).message}`, 'give a file that exists', {
      cause,
    })
  }
}
