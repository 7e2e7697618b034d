import type { ChatRequest } from './chat-request.js'
import type { Choice } from './choice.js'
import type { Service } from './exchange.js'
import { chatLogprobs } from './logprobs.js'
import type { Wording } from './sink.js'

/** chat.completion objects and chat.completion.chunk events: the role first, then text, then an empty delta with the finish reason. */
export function chatWording(id: string, created: number, request: ChatRequest, service: Service): Wording {
  const { topLogprobs, settings, promptTokenIds } = request
  const { info } = service.engine
  const head = (object: string) =>
    `{"id":${JSON.stringify(id)},"object":"${object}","created":${created},"model":${JSON.stringify(service.modelName)},` +
    `"system_fingerprint":${JSON.stringify(`pagedbench-${info.kind}-${info.backend}-${info.dtype}`)},"choices":[`
  const chunkHead = `data: ${head('chat.completion.chunk')}`
  const promptIds = settings.returnTokenIds ? `,"prompt_token_ids":${JSON.stringify(promptTokenIds)}` : ''
  const logprobs = (choice: Choice) =>
    topLogprobs < 0 ? 'null' : JSON.stringify(chatLogprobs(choice, topLogprobs, service.codec))
  const tokenIds = (choice: Choice) =>
    settings.returnTokenIds ? `,"token_ids":${JSON.stringify(choice.tokenIds)}` : ''
  const textEvent = (choice: Choice, usageField: string) =>
    `${chunkHead}{"index":${choice.index},"delta":{"content":${JSON.stringify(choice.text)}},` +
    `"logprobs":${logprobs(choice)}${tokenIds(choice)},"finish_reason":null}]${usageField}}\n\n`
  // Token ids or entries whose text never came (an EOS, a stop string cut away) travel with the end.
  const endEvent = (choice: Choice, usageField: string) => {
    const rest = choice.text === ''
    const entries = rest && choice.entries.length > 0 ? logprobs(choice) : 'null'
    return (
      `${chunkHead}{"index":${choice.index},"delta":{},"logprobs":${entries}${rest ? tokenIds(choice) : ''},` +
      `"finish_reason":"${choice.finishReason}"}]${usageField}}\n\n`
    )
  }
  return {
    answer(choices, usage) {
      const items = choices.map(
        (choice) =>
          `{"index":${choice.index},"message":{"role":"assistant","content":${JSON.stringify(choice.text)},"refusal":null},` +
          `"logprobs":${logprobs(choice)}${tokenIds(choice)},"finish_reason":"${choice.finishReason}"}`,
      )
      return `${head('chat.completion')}${items.join(',')}],"usage":${usage}${promptIds}}`
    },
    opening(usageField) {
      let events = ''
      for (let index = 0; index < settings.n; index++) {
        events +=
          `${chunkHead}{"index":${index},"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]` +
          `${usageField}${promptIds}}\n\n`
      }
      return events
    },
    event(choice, usageField) {
      const text = choice.text === '' ? '' : textEvent(choice, usageField)
      return choice.finishReason === null ? text : text + endEvent(choice, usageField)
    },
    usageEvent: (usage) => `${chunkHead}],"usage":${usage}}\n\n`,
  }
}
