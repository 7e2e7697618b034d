import type { ChatMessage, ChatTemplate, Detokenizer, TextCodec } from '../../engines/http/text-codec.js'

export const BOS = 256
export const EOS = 257
const VOCAB_SIZE = 300

/** A byte per token, and two special tokens: every multi-byte character is split between tokens. */
export const byteCodec: TextCodec = {
  vocabSize: VOCAB_SIZE,
  encode(text, { addSpecialTokens }) {
    const ids = [...Buffer.from(text)]
    return addSpecialTokens ? [BOS, ...ids] : ids
  },
  decode(ids, { skipSpecialTokens }) {
    const detokenizer = createDetokenizer(skipSpecialTokens)
    return ids.map((id) => detokenizer.push(id)).join('') + detokenizer.flush()
  },
  createDetokenizer: ({ skipSpecialTokens }) => createDetokenizer(skipSpecialTokens),
  tokenBytes,
  tokenText: (id) => Buffer.from(tokenBytes(id)).toString('utf8'),
}

export const plainTemplate: ChatTemplate = {
  render(messages: readonly ChatMessage[], { addGenerationPrompt }) {
    const text = messages.map((message) => `<${message.role}>${message.content}\n`).join('')
    return addGenerationPrompt ? `${text}<assistant>` : text
  },
}

function tokenBytes(id: number): Uint8Array {
  if (id === BOS) return Buffer.from('<s>')
  if (id === EOS) return Buffer.from('</s>')
  return id < 256 ? Uint8Array.of(id) : Buffer.from(`<${id}>`)
}

function createDetokenizer(skipSpecialTokens: boolean): Detokenizer {
  const decoder = new TextDecoder('utf-8')
  return {
    push: (id) => (id >= 256 && skipSpecialTokens ? '' : decoder.decode(tokenBytes(id), { stream: true })),
    flush: () => decoder.decode(),
  }
}
