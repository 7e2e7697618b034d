import { ApiError } from './api-error.js'
import { readBody } from './body.js'
import { renderPrompt } from './chat-request.js'
import { type Exchange, type Service, sendJson } from './exchange.js'
import { booleanField, tokenIdList, wrongType } from './fields.js'
import { checkModel } from './generate.js'

/** POST /tokenize, as vLLM has it: {prompt} or {messages} -> {count, max_model_len, tokens, token_strs}. */
export async function tokenize(exchange: Exchange, service: Service): Promise<void> {
  const { value: body } = await readBody(exchange)
  checkModel(body, service)
  const { codec, chatTemplate, engine } = service
  const wantStrings = booleanField(body, 'return_token_strs', false)
  let tokens: number[]
  if (body['messages'] !== undefined && body['messages'] !== null) {
    tokens = renderPrompt(body, codec, chatTemplate)
  } else {
    const { prompt } = body
    if (prompt === undefined || prompt === null) {
      throw new ApiError('missing_field', 'prompt or messages is required.', 'prompt')
    }
    if (typeof prompt !== 'string') throw wrongType('prompt', 'a string', prompt)
    tokens = codec.encode(prompt, { addSpecialTokens: booleanField(body, 'add_special_tokens', true) })
  }
  sendJson(
    exchange,
    JSON.stringify({
      count: tokens.length,
      max_model_len: engine.info.maxModelLen,
      tokens,
      token_strs: wantStrings ? tokens.map((id) => codec.tokenText(id)) : null,
    }),
  )
}

/** POST /detokenize: {tokens} -> {prompt}. */
export async function detokenize(exchange: Exchange, service: Service): Promise<void> {
  const { value: body } = await readBody(exchange)
  checkModel(body, service)
  const { tokens } = body
  if (!Array.isArray(tokens)) throw wrongType('tokens', 'a list of token ids', tokens)
  const ids = tokenIdList(tokens, 'tokens', service.codec.vocabSize)
  sendJson(exchange, JSON.stringify({ prompt: service.codec.decode(ids, { skipSpecialTokens: false }) }))
}
