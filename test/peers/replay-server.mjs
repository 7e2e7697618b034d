// A server that plays a recorded set of streams back: request n since takeTraces gets stream n (mod their number), each frame at its recorded
// time after the request was in. Started as a process of its own by startReplay; writes down when it wrote what, on the monotonic clock.
// Stream: {roleAtUs: number | null, atUs: number[], tokens: number[]}; roleAtUs: a first frame without tokens (role, or an empty text).
import { fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { nowNs } from '../../dist/src/clock.js'
import { DueQueue } from '../../dist/src/load/due-queue.js'

export const PROMPT_TOKENS = 32
const SELF = fileURLToPath(import.meta.url)

/** Plays `file`, `speed` times as fast as recorded. takeTraces: what was served since the last call. */
export async function startReplay(file, speed) {
  const child = fork(SELF, [file, String(speed)], { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const { url } = await answer(child, 'listening')
  return {
    url,
    pid: child.pid,
    takeTraces: async () => {
      const traces = answer(child, 'traces')
      child.send('traces')
      return (await traces).traces
    },
    close: () => child.disconnect(),
  }
}

function answer(child, type) {
  return new Promise((resolve, reject) => {
    const ended = (code) => reject(new Error(`the replay server ended with code ${code}`))
    const take = (message) => {
      if (message.type !== type) return
      child.off('message', take).off('exit', ended)
      resolve(message)
    }
    child.on('message', take).once('exit', ended)
  })
}

if (process.argv[1] === SELF) await serve(process.argv[2], Number(process.argv[3]))

async function serve(file, speed) {
  const { streams } = JSON.parse(readFileSync(file, 'utf8'))
  let traces = []
  let served = 0
  const queue = new DueQueue((play) => writeDue(play))

  const writeDue = (play) => {
    const { response, trace, frames } = play
    if (response.destroyed) return
    const frame = frames[play.next++]
    const last = play.next === frames.length
    const text = frameText(play, frame.tokens) + (last ? endText(play) : '')
    const atNs = nowNs()
    response.write(text)
    if (frame.tokens === 0) trace.roleNs = atNs
    else {
      trace.wroteNs.push(atNs)
      trace.tokens.push(frame.tokens)
    }
    if (last) {
      response.end()
      traces.push(trace)
    } else queue.add(trace.receivedNs + frames[play.next].afterNs, play)
  }

  const server = createServer((request, response) => {
    const body = []
    request.on('data', (part) => body.push(part))
    request.on('end', () => {
      const receivedNs = nowNs()
      response.on('error', () => response.destroy())
      if (request.method === 'GET') return json(response, MODELS)
      const text = Buffer.concat(body).toString()
      if (!/"stream": *true/.test(text)) return json(response, { object: 'error', message: 'streams only' }, 400)
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' }).flushHeaders()
      response.socket.setNoDelay(true)
      const stream = served++ % streams.length
      const frames = framesOf(streams[stream], speed)
      const trace = { stream, receivedNs, roleNs: null, wroteNs: [], tokens: [] }
      const chat = request.url.includes('chat')
      queue.add(receivedNs + frames[0].afterNs, { response, trace, frames, next: 0, chat })
    })
  })
  server.keepAliveTimeout = 60_000
  await new Promise((resolve) => server.listen(0, '127.0.0.1', 4096, resolve))
  process.on('message', () => {
    process.send({ type: 'traces', traces })
    traces = []
    served = 0
  })
  process.on('disconnect', () => process.exit(0))
  process.send({ type: 'listening', url: `http://127.0.0.1:${server.address().port}/v1` })
}

function framesOf({ roleAtUs, atUs, tokens }, speed) {
  const frames = atUs.map((us, index) => ({ afterNs: (us * 1e3) / speed, tokens: tokens[index] }))
  return roleAtUs === null ? frames : [{ afterNs: (roleAtUs * 1e3) / speed, tokens: 0 }, ...frames]
}

const MODELS = {
  object: 'list',
  data: [{ id: 'null-model', object: 'model', created: 1, owned_by: 'pagedbench', max_model_len: 100_000 }],
}

function frameText({ chat }, tokens) {
  const text = ' tok'.repeat(tokens)
  if (!chat) return event(chat, [{ index: 0, text, logprobs: null, finish_reason: null }])
  const delta = tokens === 0 ? { role: 'assistant', content: '' } : { content: text }
  return event(chat, [{ index: 0, delta, finish_reason: null }])
}

/** Finish reason, usage and [DONE], in the write of the last tokens. */
function endText({ chat, trace, frames }) {
  const completion = frames.reduce((sum, frame) => sum + frame.tokens, 0)
  const usage = {
    prompt_tokens: PROMPT_TOKENS,
    completion_tokens: completion,
    total_tokens: PROMPT_TOKENS + completion,
  }
  trace.completion = completion
  const finish = chat ? { delta: {} } : { text: '', logprobs: null }
  const finished = event(chat, [{ index: 0, ...finish, finish_reason: 'stop' }])
  return `${finished}${event(chat, [], { usage })}data: [DONE]\n\n`
}

function event(chat, choices, more = {}) {
  const object = chat ? 'chat.completion.chunk' : 'text_completion'
  return `data: ${JSON.stringify({ id: 'replay', object, created: 1, model: 'null-model', choices, ...more })}\n\n`
}

function json(response, value, status = 200) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}
