/** Text to token ids and back, for one model. */
export interface Tokenizer {
  /** 'bytes': the model has none, byte-tokenizer.ts stands in. */
  readonly kind: 'own' | 'bytes'
  /** Rows of the embedding; ids from tokenIds() are below it. */
  readonly vocabSize: number
  readonly bosTokenId: number | null
  readonly eosTokenIds: readonly number[]
  /** `addSpecialTokens`: the BOS (or what the model's post-processor adds). Special tokens spelled in the text become their ids. */
  encode(text: string, options: { addSpecialTokens: boolean }): number[]
  decode(ids: readonly number[], options: { skipSpecialTokens: boolean }): string
  /** For the tokens that follow a prompt, one by one. */
  createDetokenizer(options: { skipSpecialTokens: boolean }): Detokenizer
  /** The bytes a token stands for (a token may end inside a UTF-8 character); empty for ids without a token. */
  tokenBytes(id: number): Uint8Array
  /** The same as text, with U+FFFD where a character is incomplete. */
  tokenText(id: number): string
  isSpecial(id: number): boolean
  /** A tokenizer.json object for other programs. */
  readonly json: object
}

/** Text deltas that never split a UTF-8 character. */
export interface Detokenizer {
  /** The characters that this token completes; '' while one is incomplete. */
  push(id: number): string
  /** What is left: U+FFFD for an incomplete character. */
  flush(): string
}
