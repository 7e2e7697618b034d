import type { Choice } from './choice.js'
import type { CompletionRequest } from './completion-request.js'
import type { Service } from './exchange.js'
import { completionLogprobs } from './logprobs.js'
import type { Wording } from './sink.js'

/** text_completion objects. What does not change between a stream's events is rendered once, so an event costs one JSON.stringify of its text. */
export function completionWording(id: string, created: number, request: CompletionRequest, service: Service): Wording {
  const { topLogprobs, settings, prompts } = request
  const head =
    `{"id":${JSON.stringify(id)},"object":"text_completion","created":${created},` +
    `"model":${JSON.stringify(service.modelName)},"choices":[`
  const plain = topLogprobs < 0 && !settings.returnTokenIds
  const choiceHead = (choice: Choice) => `{"index":${choice.index},"text":`
  const echo = (choice: Choice) => {
    if (!request.echo || !choice.fresh) return ''
    const prompt = prompts[choice.promptIndex]
    return prompt.text ?? service.codec.decode(prompt.tokenIds, { skipSpecialTokens: settings.skipSpecialTokens })
  }
  const choiceTail = (choice: Choice) => {
    const finish = choice.finishReason === null ? 'null}' : `"${choice.finishReason}"}`
    if (plain) return `,"logprobs":null,"finish_reason":${finish}`
    const logprobs = topLogprobs < 0 ? 'null' : JSON.stringify(completionLogprobs(choice, topLogprobs, service.codec))
    return `,"logprobs":${logprobs}${tokenIds(choice)},"finish_reason":${finish}`
  }
  const tokenIds = (choice: Choice) => {
    if (!settings.returnTokenIds) return ''
    const prompt = choice.fresh ? `,"prompt_token_ids":${JSON.stringify(prompts[choice.promptIndex].tokenIds)}` : ''
    return `${prompt},"token_ids":${JSON.stringify(choice.tokenIds)}`
  }
  const render = (choice: Choice) =>
    choiceHead(choice) + JSON.stringify(echo(choice) + choice.text) + choiceTail(choice)
  return {
    answer: (choices, usage) => `${head}${choices.map(render).join(',')}],"usage":${usage}}`,
    opening: () => '',
    event: (choice, usageField) => `data: ${head}${render(choice)}]${usageField}}\n\n`,
    usageEvent: (usage) => `data: ${head}],"usage":${usage}}\n\n`,
  }
}
