import type { Detokenizer } from './tokenizer.js'

type TokenBytes = (id: number) => Uint8Array
type IsSkipped = ((id: number) => boolean) | null

/** One token after the other; a UTF-8 character cut between two tokens comes with the one that completes it. */
export function createDetokenizer(tokenBytes: TokenBytes, isSkipped: IsSkipped): Detokenizer {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  return {
    push: (id) => (isSkipped?.(id) ? '' : decoder.decode(tokenBytes(id), { stream: true })),
    flush: () => decoder.decode(),
  }
}

export function decodeTokens(ids: readonly number[], tokenBytes: TokenBytes, isSkipped: IsSkipped): string {
  const detokenizer = createDetokenizer(tokenBytes, isSkipped)
  let text = ''
  for (const id of ids) text += detokenizer.push(id)
  return text + detokenizer.flush()
}
