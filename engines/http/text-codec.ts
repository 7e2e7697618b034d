/** What the server asks of the model room: text to token ids and back. engines/model's Tokenizer and chat template satisfy these. */
export interface TextCodec {
  readonly vocabSize: number
  encode(text: string, options: { addSpecialTokens: boolean }): number[]
  decode(ids: readonly number[], options: { skipSpecialTokens: boolean }): string
  /** A fresh incremental decoder for one sequence. */
  createDetokenizer(options: { skipSpecialTokens: boolean }): Detokenizer
  /** The bytes one token stands for, which may be part of a character. */
  tokenBytes(id: number): Uint8Array
  /** The same as text, with U+FFFD for parts of characters. */
  tokenText(id: number): string
}

/** Token by token to text that never splits a UTF-8 character: push returns what became certain, flush the rest. */
export interface Detokenizer {
  push(id: number): string
  flush(): string
}

export interface ChatMessage {
  role: string
  content: string
  name?: string
}

/** Renders a conversation to the model's prompt text. Throws when the template refuses the conversation. */
export interface ChatTemplate {
  render(messages: readonly ChatMessage[], options: { addGenerationPrompt: boolean }): string
}
