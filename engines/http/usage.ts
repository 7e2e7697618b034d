import type { Choice } from './choice.js'

/** The `usage` object as JSON text. Prompt tokens count once per prompt, completion tokens over all choices, the ending token included. */
export function usageJson(prompts: readonly (readonly number[])[], choices: readonly Choice[]): string {
  let promptTokens = 0
  for (const prompt of prompts) promptTokens += prompt.length
  let completionTokens = 0
  const cached = new Array<number>(prompts.length).fill(0)
  for (const choice of choices) {
    completionTokens += choice.completionTokens
    cached[choice.promptIndex] = Math.max(cached[choice.promptIndex], choice.cachedTokens)
  }
  return countsJson(
    promptTokens,
    completionTokens,
    cached.reduce((sum, tokens) => sum + tokens, 0),
  )
}

/** Usage of one choice so far, for stream_options.continuous_usage_stats. */
export function choiceUsageJson(promptTokens: number, choice: Choice): string {
  return countsJson(promptTokens, choice.completionTokens, choice.cachedTokens)
}

function countsJson(promptTokens: number, completionTokens: number, cachedTokens: number): string {
  return (
    `{"prompt_tokens":${promptTokens},"completion_tokens":${completionTokens},` +
    `"total_tokens":${promptTokens + completionTokens},"prompt_tokens_details":{"cached_tokens":${cachedTokens}}}`
  )
}
