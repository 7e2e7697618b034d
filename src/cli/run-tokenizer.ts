import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { localTokenizer, remoteTokenizer, type TextTokenizer } from '../scenario/tokenizer.js'
import { probeTarget, type TargetSpec } from '../target.js'
import { runForOutput } from './process.js'
import type { RunRequest } from './run-options.js'

/**
 * The tokenizer that sizes prompts of text: of the built-in engines' model (exported by its own process), else the first external
 * server's /tokenize, when it has one. Null: none is at hand, and the plan says that a word counts as a token.
 */
export async function findTokenizer(
  targets: readonly TargetSpec[],
  model: string | null,
  request: RunRequest,
): Promise<TextTokenizer | null> {
  if (targets.some((target) => target.kind === 'builtin')) return exportedTokenizer(model)
  for (const target of targets) {
    if (target.kind !== 'external') continue
    const { model: served } = await probeTarget(target, request.apiKey)
    const tokenizer = remoteTokenizer(target.baseUrl, served, request.apiKey)
    if (await answers(tokenizer)) return tokenizer
  }
  return null
}

async function exportedTokenizer(model: string | null): Promise<TextTokenizer> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-tokenizer-'))
  try {
    await runForOutput('model', ['export-tokenizer', ...(model === null ? [] : [model]), '--out', folder])
    return localTokenizer(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function answers(tokenizer: TextTokenizer): Promise<boolean> {
  try {
    return (await tokenizer.encode('a few words')).length > 0
  } catch {
    return false
  }
}
