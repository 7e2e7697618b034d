import { type GenerationRequest, GREEDY, type SamplingParams } from '../../engines/engine.js'

/** Sampling settings that between them use every parameter. */
const SETTINGS: Partial<SamplingParams>[] = [
  {},
  { temperature: 1 },
  {},
  { temperature: 0.7, topK: 20 },
  {},
  { temperature: 1.2, topP: 0.8 },
  {},
  { temperature: 1, minP: 0.05, frequencyPenalty: 0.4 },
  { repetitionPenalty: 1.3 },
  { temperature: 0.9, presencePenalty: 0.5, topK: 50, topP: 0.95 },
]

export interface MakeRequest extends Partial<Omit<GenerationRequest, 'sampling'>> {
  sampling?: Partial<SamplingParams>
}

export function makeRequest(
  id: string,
  prompt: readonly number[],
  maxTokens: number,
  rest: MakeRequest = {},
): GenerationRequest {
  const { sampling, ...fields } = rest
  return {
    id,
    clientId: id,
    promptTokenIds: prompt,
    maxTokens,
    ignoreEos: true,
    stopTokenIds: [],
    topLogprobs: -1,
    priority: 0,
    arrivalNs: 0,
    ...fields,
    sampling: { ...GREEDY, ...sampling },
  }
}

/** `count` token ids below `vocab`, from a seed (mulberry32). */
export function randomPrompt(count: number, seed: number, vocab = 512): number[] {
  let state = seed * 2_654_435_761
  return Array.from({ length: count }, () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % vocab
  })
}

/** Requests of mixed lengths: a third share one of three prefixes, half are sampled, prompts up to 138 tokens, outputs up to 47. */
export function mixedRequests(count: number): GenerationRequest[] {
  return Array.from({ length: count }, (_, i) => {
    const [length, output] = randomPrompt(2, 7000 + i, 4096) as [number, number]
    const own = randomPrompt(1 + (length % (i % 5 === 0 ? 120 : 40)), i)
    const prompt = i % 3 === 0 ? [...randomPrompt(48, 900 + (i % 9)), ...own.slice(0, 90)] : own
    const sampling = { ...SETTINGS[i % SETTINGS.length], seedLow: 1000 + i, seedHigh: i }
    return makeRequest(`r${i}`, prompt, 2 + (output % 46), { sampling })
  })
}
