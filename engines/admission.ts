import type { AdmissionError, GenerationRequest } from './engine.js'

/** What one sequence may at most be, whatever else runs. Tokens. */
export interface AdmissionLimits {
  maxModelLen: number
  /** Tokens whose keys and values the whole cache holds for one sequence. */
  kvCapacityTokens: number
}

/**
 * Null when the request can run alone, else why it never can. The last sampled token needs no room in the cache: nothing reads it.
 */
export function admissionError(request: GenerationRequest, limits: AdmissionLimits): AdmissionError | null {
  const promptLength = request.promptTokenIds.length
  const length = promptLength + request.maxTokens
  if (length > limits.maxModelLen) {
    return {
      code: 'context_length_exceeded',
      message:
        `This model's maximum context length is ${limits.maxModelLen} tokens. However, you requested ${length} tokens ` +
        `(${promptLength} in the prompt, ${request.maxTokens} in the completion). Please reduce the length.`,
      param: promptLength >= limits.maxModelLen ? 'prompt' : 'max_tokens',
    }
  }
  if (length - 1 > limits.kvCapacityTokens) {
    return {
      code: 'kv_capacity_exceeded',
      message: `The request needs keys and values of ${length - 1} tokens; the KV cache holds ${limits.kvCapacityTokens}.`,
      param: promptLength > limits.kvCapacityTokens ? 'prompt' : 'max_tokens',
    }
  }
  return null
}
