import { randomUUID } from 'node:crypto'
import { readBody } from './body.js'
import { parseChatRequest } from './chat-request.js'
import { chatWording } from './chat-wording.js'
import type { Exchange, Service } from './exchange.js'
import { checkModel, generate } from './generate.js'

/** POST /v1/chat/completions */
export async function chat(exchange: Exchange, service: Service): Promise<void> {
  const { value, seedDigits, arrivalNs } = await readBody(exchange)
  checkModel(value, service)
  const request = parseChatRequest(value, seedDigits, service.codec, service.chatTemplate)
  const id = `chatcmpl-${randomUUID()}`
  const wording = chatWording(id, Math.floor(Date.now() / 1000), request, service)
  const { promptTokenIds, maxTokens, topLogprobs, settings, ignored } = request
  const plan = { id, prompts: [promptTokenIds], maxTokens, topLogprobs, settings, arrivalNs }
  generate(exchange, service, plan, wording, ignored)
}
