import autocannon from 'autocannon'
import { apiPath } from './openai.js'

export interface CeilingRequest {
  /** With /v1. */
  baseUrl: string
  apiKey: string | null
  model: string
  connections: number
  durationSecs: number
}

/** Requests/s of whole, non-streamed answers of one token: how many requests a server and this machine can pass at all. */
export interface RequestCeiling {
  requestsPerSecond: number
  requests: number
  /** autocannon's own, whole milliseconds. */
  latencyP50Ms: number
  latencyP99Ms: number
  failures: number
}

/** Drives the non-streaming completions route with autocannon, as fast as it answers. */
export async function requestCeiling(request: CeilingRequest): Promise<RequestCeiling> {
  const { connections, durationSecs, model, apiKey } = request
  const result = await autocannon({
    url: `${request.baseUrl.replace(/\/+$/, '')}/${apiPath('completions')}`,
    connections,
    duration: durationSecs,
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
    },
    body: JSON.stringify({ model, prompt: [1000, 1001], max_tokens: 1, temperature: 0, ignore_eos: true }),
  })
  return {
    requestsPerSecond: result.requests.average,
    requests: result.requests.total,
    latencyP50Ms: result.latency.p50,
    latencyP99Ms: result.latency.p99,
    failures: result.errors + result.timeouts + result.non2xx,
  }
}
