import { request } from 'undici'
import { Failure } from '../failure.js'
import type { TargetInfo } from '../result/schema.js'
import type { RunningTarget, TargetOptions, TargetSpec } from '../target.js'

/** What a server says of itself before any load. */
export interface Probe {
  model: string
  models: string[]
  maxModelLen: number | null
  vocabSize: number | null
}

const PROBE_MS = 10_000

/** Asks /v1/models. Throws Failure: 'target-unreachable', or 'not-openai' with what was seen instead. */
export async function probeTarget(
  spec: TargetSpec & { kind: 'external' },
  apiKey: string | null,
  wanted: string | null = null,
): Promise<Probe> {
  const { status, text } = await get(`${spec.baseUrl}/models`, apiKey, spec)
  if (status === 401 || status === 403)
    throw new Failure(
      'target-unreachable',
      `${spec.name} wants a key (HTTP ${status})`,
      'set BENCH_API_KEY, or name another variable with --api-key-env',
    )
  const list = parseModels(status, text, spec)
  const models = list.map((entry) => entry.id)
  if (wanted !== null && !models.includes(wanted))
    throw new Failure('unknown-model', `${spec.name} does not serve '${wanted}'`, `it serves ${models.join(', ')}`)
  const chosen = list.find((entry) => entry.id === wanted) ?? list[0]!
  return {
    model: chosen.id,
    models,
    maxModelLen: chosen.max_model_len ?? null,
    vocabSize: await ownVocabSize(spec, apiKey),
  }
}

export async function startExternal(
  spec: TargetSpec & { kind: 'external' },
  options: TargetOptions,
): Promise<RunningTarget> {
  const probe = await probeTarget(spec, options.apiKey, null)
  const info: TargetInfo = {
    name: spec.name,
    kind: 'external',
    origin: new URL(spec.baseUrl).origin,
    model: probe.models.includes(options.model ?? '') ? options.model! : probe.model,
    engine: 'external server',
    backend: null,
    device: null,
    dtype: null,
    weights: null,
    weightsSha256: null,
    maxModelLen: probe.maxModelLen,
    kvBytes: null,
    blockSize: null,
    options: {},
    decodeWeightBytes: null,
    kvBytesPerToken: null,
    flopsPerToken: null,
    tokenSource: 'usage',
    startupSecs: null,
  }
  return {
    info,
    baseUrl: spec.baseUrl,
    pid: null,
    gpuUuid: null,
    died: new AbortController().signal,
    stop: async () => {},
  }
}

interface ModelEntry {
  id: string
  max_model_len?: number
}

function parseModels(status: number, text: string, spec: TargetSpec): ModelEntry[] {
  const seen = `HTTP ${status}, ${JSON.stringify(text.slice(0, 80))}`
  const notOpenAi = (why: string) =>
    new Failure(
      'not-openai',
      `${spec.name} is not an OpenAI-compatible server: ${why} (${seen})`,
      'the URL must end in /v1 of such a server',
    )
  if (status !== 200) throw notOpenAi('GET /models failed')
  let body: { data?: ModelEntry[] }
  try {
    body = JSON.parse(text) as { data?: ModelEntry[] }
  } catch {
    throw notOpenAi('GET /models is not JSON')
  }
  const models = Array.isArray(body?.data) ? body.data.filter((entry) => typeof entry?.id === 'string') : []
  if (models.length === 0) throw notOpenAi('GET /models lists no model')
  return models
}

/** Our own servers tell their vocabulary at /v1/engine; others do not. */
async function ownVocabSize(spec: TargetSpec & { kind: 'external' }, apiKey: string | null): Promise<number | null> {
  try {
    const { status, text } = await get(`${spec.baseUrl}/engine`, apiKey, spec)
    if (status !== 200) return null
    const { info } = JSON.parse(text) as { info?: { vocabSize?: number } }
    return info?.vocabSize ?? null
  } catch {
    return null
  }
}

async function get(url: string, apiKey: string | null, spec: TargetSpec): Promise<{ status: number; text: string }> {
  try {
    const response = await request(url, {
      headersTimeout: PROBE_MS,
      bodyTimeout: PROBE_MS,
      headers: apiKey === null ? {} : { authorization: `Bearer ${apiKey}` },
    })
    return { status: response.statusCode, text: (await response.body.text()).slice(0, 1_000_000) }
  } catch (cause) {
    throw new Failure(
      'target-unreachable',
      `${spec.name}: ${(cause as Error).message || (cause as NodeJS.ErrnoException).code}`,
      'is the server up, and is the URL right?',
      { cause },
    )
  }
}
