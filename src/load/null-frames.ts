/**
 * The bytes that the null server writes, made once for each shape: every frame of a stream is the same, so a token costs it a socket write and no text.
 * All ASCII, HTTP/1.1 chunked (https://www.rfc-editor.org/rfc/rfc9112#section-7.1), one chunk a frame.
 */
export class NullFrames {
  readonly #byShape = new Map<number, Buffer>()

  constructor(
    readonly chat: boolean,
    readonly tokensPerFrame: number,
  ) {}

  /** `frames` whole frames, each a chunk of its own, one after another. */
  whole(frames: number): Buffer {
    let bytes = this.#byShape.get(frames)
    if (bytes === undefined) {
      bytes = Buffer.from(chunk(tokenFrame(this.chat, this.tokensPerFrame)).repeat(frames), 'latin1')
      this.#byShape.set(frames, bytes)
    }
    return bytes
  }

  /** The end of a stream of `tokens`: its last `left` tokens in frames of at most tokensPerFrame, finish reason, usage, [DONE], end of the response. */
  end(tokens: number, left: number): Buffer {
    const whole = chunk(tokenFrame(this.chat, this.tokensPerFrame)).repeat(Math.floor(left / this.tokensPerFrame))
    const rest = left % this.tokensPerFrame
    const part = rest === 0 ? '' : chunk(tokenFrame(this.chat, rest))
    return Buffer.from(`${whole}${part}${chunk(finishFrames(this.chat, tokens))}${chunk('data: [DONE]\n\n')}0\r\n\r\n`)
  }
}

export const STREAM_HEAD = Buffer.from(
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n',
)
export const MODELS = json({
  object: 'list',
  data: [{ id: 'null', object: 'model', created: 1, owned_by: 'pagedbench', max_model_len: 1_000_000 }],
})
export const NON_STREAMED = json({
  id: 'null-0',
  object: 'text_completion',
  created: 1,
  model: 'null',
  choices: [{ index: 0, text: ' tok', logprobs: null, finish_reason: 'length' }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
})

function tokenFrame(chat: boolean, tokens: number): string {
  const text = ' tok'.repeat(tokens)
  const choice = chat
    ? `{"index":0,"delta":{"content":"${text}"},"finish_reason":null}`
    : `{"index":0,"text":"${text}","logprobs":null,"finish_reason":null}`
  return `data: {${frameHead(chat)},"choices":[${choice}]}\n\n`
}

function finishFrames(chat: boolean, tokens: number): string {
  const choice = chat
    ? '{"index":0,"delta":{},"finish_reason":"length"}'
    : '{"index":0,"text":"","logprobs":null,"finish_reason":"length"}'
  const usage = `{"prompt_tokens":1,"completion_tokens":${tokens},"total_tokens":${tokens + 1}}`
  const head = frameHead(chat)
  return `data: {${head},"choices":[${choice}]}\n\ndata: {${head},"choices":[],"usage":${usage}}\n\n`
}

function frameHead(chat: boolean): string {
  const object = chat ? 'chat.completion.chunk' : 'text_completion'
  return `"id":"null-0","object":"${object}","created":1,"model":"null"`
}

function chunk(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`
}

function json(value: unknown): Buffer {
  const body = JSON.stringify(value)
  const length = Buffer.byteLength(body)
  return Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n${body}`)
}
