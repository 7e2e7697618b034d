import { randomUUID } from 'node:crypto'
import { readBody } from './body.js'
import { parseCompletionRequest } from './completion-request.js'
import { completionWording } from './completion-wording.js'
import type { Exchange, Service } from './exchange.js'
import { checkModel, generate } from './generate.js'

/** POST /v1/completions */
export async function completions(exchange: Exchange, service: Service): Promise<void> {
  const { value, seedDigits, arrivalNs } = await readBody(exchange)
  checkModel(value, service)
  const request = parseCompletionRequest(value, seedDigits, service.codec)
  const id = `cmpl-${randomUUID()}`
  const wording = completionWording(id, Math.floor(Date.now() / 1000), request, service)
  const prompts = request.prompts.map((prompt) => prompt.tokenIds)
  const { maxTokens, topLogprobs, settings, ignored } = request
  generate(exchange, service, { id, prompts, maxTokens, topLogprobs, settings, arrivalNs }, wording, ignored)
}
