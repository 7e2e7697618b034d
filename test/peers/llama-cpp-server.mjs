// llama.cpp (through node-llama-cpp) behind the few routes a benchmark needs, so that it can stand beside our engines as a peer.
//   node test/peers/llama-cpp-server.mjs --model FILE.gguf [--port 8081] [--parallel 16] [--context 2048] [--threads 2]
// Continuous batching is llama.cpp's own: `parallel` sequences share each decode. Greedy only; output runs to max_tokens (ignore_eos).
import { createServer } from 'node:http'
import { parseArgs } from 'node:util'
import { getLlama, LlamaLogLevel } from 'node-llama-cpp'

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    port: { type: 'string', default: '8081' },
    parallel: { type: 'string', default: '16' },
    context: { type: 'string', default: '2048' },
    threads: { type: 'string', default: '2' },
  },
})
if (!flags.model) {
  console.error(
    'usage: node test/peers/llama-cpp-server.mjs --model FILE.gguf [--port N] [--parallel N] [--context N] [--threads N]',
  )
  process.exit(2)
}
const parallel = Number(flags.parallel)
const llama = await getLlama({
  gpu: false,
  build: 'never',
  maxThreads: Number(flags.threads),
  logLevel: LlamaLogLevel.error,
})
const model = await llama.loadModel({ modelPath: flags.model })
const context = await model.createContext({
  sequences: parallel,
  contextSize: Number(flags.context),
  threads: Number(flags.threads),
  batchSize: 512,
})
const idle = Array.from({ length: parallel }, () => context.getSequence())
const queue = []
const created = Math.floor(Date.now() / 1000)

const server = createServer(async (request, response) => {
  if (request.url === '/v1/models')
    return json(response, 200, {
      object: 'list',
      data: [
        { id: 'llama.cpp', object: 'model', created, owned_by: 'llama.cpp', max_model_len: Number(flags.context) },
      ],
    })
  if (request.url === '/health') return json(response, 200, { status: 'ok' })
  if (request.url !== '/v1/completions' || request.method !== 'POST')
    return json(response, 404, {
      error: { message: 'no such route', type: 'not_found_error', param: null, code: null },
    })
  const parts = []
  for await (const part of request) parts.push(part)
  const body = JSON.parse(Buffer.concat(parts).toString('utf8'))
  const prompt = Array.isArray(body.prompt) ? body.prompt : model.tokenize(body.prompt, false, 'trimLeadingSpace')
  const sequence = idle.pop() ?? (await new Promise((resolve) => queue.push(resolve)))
  let gone = false
  response.on('close', () => {
    gone = true
  })
  try {
    await generate(sequence, prompt, body, response, () => gone)
  } finally {
    await sequence.clearHistory()
    const next = queue.shift()
    if (next) next(sequence)
    else idle.push(sequence)
  }
})

async function generate(sequence, prompt, body, response, isGone) {
  const id = `cmpl-${Math.random().toString(36).slice(2)}`
  const wanted = body.max_tokens ?? 16
  const frame = (text, finish) =>
    `data: ${JSON.stringify({ id, object: 'text_completion', created, model: 'llama.cpp', choices: [{ index: 0, text, logprobs: null, finish_reason: finish }] })}\n\n`
  const usage = { prompt_tokens: prompt.length, completion_tokens: 0, total_tokens: prompt.length }
  if (body.stream) response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
  let text = ''
  for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    usage.completion_tokens++
    // A token that ends inside a character has no text of its own; a space keeps "one frame, one token" without costing a decode of the whole answer.
    const piece = model.detokenize([token], true) || ' '
    text += piece
    if (body.stream) response.write(frame(piece, null))
    if (usage.completion_tokens >= wanted || isGone()) break
  }
  usage.total_tokens += usage.completion_tokens
  if (!body.stream)
    return json(response, 200, {
      id,
      object: 'text_completion',
      created,
      model: 'llama.cpp',
      choices: [{ index: 0, text, logprobs: null, finish_reason: 'length' }],
      usage,
    })
  response.write(frame('', 'length'))
  if (body.stream_options?.include_usage)
    response.write(
      `data: ${JSON.stringify({ id, object: 'text_completion', created, model: 'llama.cpp', choices: [], usage })}\n\n`,
    )
  response.end('data: [DONE]\n\n')
}

function json(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

server.listen(Number(flags.port), '127.0.0.1', () =>
  console.log(JSON.stringify({ event: 'ready', url: `http://127.0.0.1:${server.address().port}/v1` })),
)
process.on('SIGTERM', () => process.exit(0))
