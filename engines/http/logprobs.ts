import type { Choice, TokenEntry } from './choice.js'
import type { TextCodec } from './text-codec.js'

/** `choices[].logprobs` of the chat API, from a choice's pending entries. */
export function chatLogprobs(choice: Choice, topLogprobs: number, codec: TextCodec): object {
  const token = (id: number, logprob: number) => ({
    token: codec.tokenText(id),
    logprob: finite(logprob),
    bytes: [...codec.tokenBytes(id)],
  })
  return {
    content: choice.entries.map(({ id, logprobs }) => ({
      ...token(id, logprobs.logprob),
      top_logprobs: logprobs.topTokenIds.slice(0, topLogprobs).map((topId, k) => token(topId, logprobs.topLogprobs[k])),
    })),
  }
}

/** `choices[].logprobs` of the completions API; the sampled token is always among its top_logprobs (as in vLLM). */
export function completionLogprobs(choice: Choice, topLogprobs: number, codec: TextCodec): object {
  const tokens = choice.entries.map((entry) => codec.tokenText(entry.id))
  const textOffset: number[] = []
  for (const token of tokens) {
    textOffset.push(choice.textOffset)
    choice.textOffset += token.length
  }
  return {
    tokens,
    token_logprobs: choice.entries.map((entry) => finite(entry.logprobs.logprob)),
    top_logprobs: choice.entries.map((entry) => topByText(entry, topLogprobs, codec)),
    text_offset: textOffset,
  }
}

function topByText({ id, logprobs }: TokenEntry, topLogprobs: number, codec: TextCodec): Record<string, number> {
  const top = new Map([[codec.tokenText(id), finite(logprobs.logprob)]])
  for (let k = 0; k < Math.min(topLogprobs, logprobs.topTokenIds.length); k++) {
    const text = codec.tokenText(logprobs.topTokenIds[k])
    // Ids whose bytes are no whole character share the text U+FFFD: the likelier one keeps it.
    if (!top.has(text)) top.set(text, finite(logprobs.topLogprobs[k]))
  }
  return Object.fromEntries(top)
}

/** JSON has no infinity; a token of probability 0 gets vLLM's floor. */
function finite(logprob: number): number {
  return Math.max(logprob, -9999)
}
