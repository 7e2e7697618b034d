import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface CachingOptions {
  /** none; by prefix, as servers do; or by content wherever it stands, so that no salt at the front gets past it. */
  cache: 'none' | 'prefix' | 'content'
  /** Time to compute one prompt token that is not cached, ms. */
  perTokenMs: number
  /** Tell cached tokens with the usage. */
  reports?: boolean
  /** Tell prefix_cache counters at /metrics. */
  counters?: boolean
  /** One request at a time, each this long on top, ms: an open loop above 1000 / serialMs requests/s piles up. */
  serialMs?: number
  /** How answers say that they ended; length unless given. */
  finish?: 'stop'
  /** Refuse every request with this status. */
  refuse?: number
}

export interface CachingServer {
  url: string
  requests: number
  close(): void
}

/** Blocks of a prompt that are cached as a whole. */
const BLOCK = 16

/** An OpenAI-compatible server that takes its time over what it has not seen: prompts of ids, text or one chat message. */
export async function startCachingServer(options: CachingOptions): Promise<CachingServer> {
  const seen = new Set<string>()
  const counts = { lookedUp: 0, found: 0 }
  const state = { requests: 0, freeAtMs: 0 }
  const waitMs = () => {
    if (options.serialMs === undefined) return 0
    state.freeAtMs = Math.max(performance.now(), state.freeAtMs) + options.serialMs
    return state.freeAtMs - performance.now()
  }
  /** Leading tokens known from earlier prompts, whole blocks. */
  const lookUp = (tokens: readonly (string | number)[]): number => {
    let cached = 0
    for (let end = BLOCK; end <= tokens.length; end += BLOCK) {
      const key = JSON.stringify(options.cache === 'content' ? tokens.slice(end - BLOCK, end) : tokens.slice(0, end))
      if (options.cache !== 'none' && seen.has(key)) cached += BLOCK
      seen.add(key)
    }
    counts.lookedUp += tokens.length
    counts.found += cached
    return cached
  }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      if (request.url === '/metrics') {
        response.writeHead(options.counters ? 200 : 404).end(metrics(counts))
        return
      }
      if (request.url === '/v1/models') {
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify({ data: [{ id: 'm', max_model_len: 1024 }] }))
        return
      }
      if (request.method !== 'POST') {
        response.writeHead(404).end('{}')
        return
      }
      state.requests++
      if (options.refuse !== undefined) {
        response.writeHead(options.refuse, { 'content-type': 'application/json' }).end('{"error":{"message":"no"}}')
        return
      }
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>
      const tokens = tokensOf(body)
      const cached = lookUp(tokens)
      setTimeout(
        () => answer(response, request.url!, body, tokens.length, options.reports ? cached : null, options.finish),
        waitMs() + (tokens.length - cached) * options.perTokenMs,
      )
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
  return {
    url,
    get requests() {
      return state.requests
    },
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

function metrics({ lookedUp, found }: { lookedUp: number; found: number }): string {
  return `vllm:prefix_cache_queries_total{model="m"} ${lookedUp}.0\nvllm:prefix_cache_hits_total{model="m"} ${found}.0\n`
}

/** Ids as they are; a word counts as a token. */
function tokensOf(body: Record<string, unknown>): (string | number)[] {
  if (Array.isArray(body['prompt'])) return body['prompt'] as number[]
  if (typeof body['prompt'] === 'string') return body['prompt'].split(' ')
  return (body['messages'] as { content: string }[])[0]!.content.split(' ')
}

function answer(
  response: ServerResponse,
  url: string,
  body: Record<string, unknown>,
  promptTokens: number,
  cached: number | null,
  finish: string = 'length',
): void {
  const count = Number(body['max_tokens'])
  const chat = url.includes('chat')
  const frame = (choices: unknown[], usage?: object) => {
    const object = chat ? 'chat.completion.chunk' : 'text_completion'
    return `data: ${JSON.stringify({ id: 'x', object, choices, ...(usage ? { usage } : {}) })}\n\n`
  }
  const piece = (text: string, finish_reason: string | null) =>
    chat ? { index: 0, delta: { content: text }, finish_reason } : { index: 0, text, finish_reason }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  for (let token = 0; token < count; token++) response.write(frame([piece(' tok', null)]))
  response.write(frame([piece('', finish)]))
  const details = cached === null ? {} : { prompt_tokens_details: { cached_tokens: cached } }
  const usage = {
    prompt_tokens: promptTokens,
    completion_tokens: count,
    total_tokens: promptTokens + count,
    ...details,
  }
  response.end(`${frame([], usage)}data: [DONE]\n\n`)
}
