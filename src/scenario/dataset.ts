import { readFileSync } from 'node:fs'
import { Failure } from '../failure.js'
import { RandomStream } from './random.js'
import type { TextTokenizer } from './tokenizer.js'
import type { Dataset } from './types.js'

/** A prompt from a file. outputTokens null: the workload's own distribution decides. */
export interface DatasetItem {
  prompt: string
  inputTokens: number
  outputTokens: number | null
}

/** Of English text in byte-pair vocabularies; only without a tokenizer. */
const CHARS_PER_TOKEN = 4
/** Shorter prompts and answers are left out, as `vllm bench serve` does. */
const MIN_TOKENS = 4

/**
 * Prompts of a file, filtered and in a seeded order. ShareGPT: the first turn is the prompt, the second gives the length of the answer; prompts over
 * maxInputTokens and pairs over maxTotalTokens are left out (vllm bench serve: 1024 and 2048). Throws Failure('bad-file').
 */
export async function readDataset(
  dataset: Dataset,
  seed: number,
  tokenizer: TextTokenizer | null,
): Promise<{ items: DatasetItem[]; notes: string[] }> {
  const count = async (text: string) =>
    tokenizer === null ? Math.ceil(text.length / CHARS_PER_TOKEN) : (await tokenizer.encode(text)).length
  const pairs = dataset.format === 'sharegpt' ? readShareGpt(dataset.file) : readPrompts(dataset.file)
  const items: DatasetItem[] = []
  for (const { prompt, answer, outputTokens } of pairs) {
    const inputTokens = await count(prompt)
    const output = outputTokens ?? (answer === null ? null : await count(answer))
    const isPair = dataset.format === 'sharegpt'
    if (isPair && (inputTokens < MIN_TOKENS || output! < MIN_TOKENS)) continue
    if (inputTokens > dataset.maxInputTokens || inputTokens + (output ?? 0) > dataset.maxTotalTokens) continue
    items.push({ prompt, inputTokens: Math.max(1, inputTokens), outputTokens: output })
  }
  if (items.length === 0) throw new Failure('bad-file', `${dataset.file}: no prompt is left after filtering`)
  shuffle(items, new RandomStream(seed, 'dataset'))
  const notes = [`${items.length} of ${pairs.length} entries of the dataset fit the limits`]
  if (tokenizer === null)
    notes.push(`no tokenizer at hand: lengths are estimated at ${CHARS_PER_TOKEN} characters a token`)
  return { items, notes }
}

interface Pair {
  prompt: string
  answer: string | null
  outputTokens: number | null
}

function readShareGpt(file: string): Pair[] {
  const value = parseJson(readText(file), file)
  if (!Array.isArray(value)) throw new Failure('bad-file', `${file}: a ShareGPT file is a JSON list`)
  return value.flatMap((entry): Pair[] => {
    const turns: unknown = (entry as { conversations?: unknown; conversation?: unknown })?.conversations
    if (!Array.isArray(turns) || turns.length < 2) return []
    const [first, second] = turns.map((turn: { value?: unknown; content?: unknown }) => turn?.value ?? turn?.content)
    return typeof first === 'string' && typeof second === 'string'
      ? [{ prompt: first, answer: second, outputTokens: null }]
      : []
  })
}

/** One prompt a line, or JSON lines with `prompt` and optionally `output_tokens`. */
function readPrompts(file: string): Pair[] {
  const lines = readText(file).split(/\r?\n/)
  return lines.flatMap((line, index): Pair[] => {
    if (line.trim() === '') return []
    if (!line.trimStart().startsWith('{')) return [{ prompt: line, answer: null, outputTokens: null }]
    const value = parseJson(line, `${file}:${index + 1}`) as { prompt?: unknown; output_tokens?: unknown }
    if (typeof value.prompt !== 'string') throw new Failure('bad-file', `${file}:${index + 1}: no prompt`)
    const output = value.output_tokens
    return [
      {
        prompt: value.prompt,
        answer: null,
        outputTokens: Number.isInteger(output) && (output as number) > 0 ? (output as number) : null,
      },
    ]
  })
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new Failure('bad-file', `cannot read the dataset ${file}: ${(cause as Error).message}`, null, { cause })
  }
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Failure('bad-file', `${where}: not JSON: ${(cause as Error).message}`, null, { cause })
  }
}

/** Fisher and Yates. */
function shuffle<T>(items: T[], random: RandomStream): void {
  for (let last = items.length - 1; last > 0; last--) {
    const other = random.integer(0, last + 1)
    const held = items[last]!
    items[last] = items[other]!
    items[other] = held
  }
}
