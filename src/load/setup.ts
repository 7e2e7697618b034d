import type { PlanRow } from '../result/schema.js'
import { CLOCK, COUNTER, type WorkerRow, type WorkerSetup } from './messages.js'
import { apiPath, requestBody } from './openai.js'
import type { LoadOptions } from './options.js'
import { saltedPrompts } from './salt.js'

/** Requests read both ways at the start of each worker. */
const VERIFY_REQUESTS = 4
/** Open-loop connections opened beforehand; more are made when needed. */
const MAX_OPENED = 1024

/** One setup a worker; bodies, counters and clock are shared by all. */
export function buildSetups(options: LoadOptions, workers: number, salt: string): WorkerSetup[] {
  const { plan, scenario, target } = options
  const { arrival } = scenario.load
  const sessions = sessionStarts(plan.rows)
  const { bodies, bodyOffsets } = serialiseBodies(options, salt)
  const counters = new Int32Array(new SharedArrayBuffer(COUNTER.size * Int32Array.BYTES_PER_ELEMENT))
  // Slots open with a session each; the counter deals the rest.
  if (arrival.kind === 'closed') counters[COUNTER.nextSession] = Math.min(arrival.concurrency, sessions.length - 1)
  const base = new URL(target.baseUrl)
  const shared = {
    workers,
    origin: base.origin,
    path: `${base.pathname.replace(/\/+$/, '')}/${apiPath(target.api)}`,
    headers: requestHeaders(target.apiKey),
    requestIdPrefix: `bench-${salt.slice(0, 8)}`,
    bodies,
    bodyOffsets,
    rows: plan.rows.map(workerRow(plan.measureOffsetNs, scenario.workload.enforce !== 'none')),
    sessions,
    timeouts: scenario.timeouts,
    maxMeasureNs: scenario.load.maxSecs === null ? null : scenario.load.maxSecs * 1e9,
    keepOutput: options.keepOutput ?? false,
    verifyRequests: VERIFY_REQUESTS,
    counters: counters.buffer as SharedArrayBuffer,
    clock: new SharedArrayBuffer(CLOCK.size * BigInt64Array.BYTES_PER_ELEMENT),
  }
  const limit = arrival.kind === 'closed' ? arrival.concurrency : arrival.cap
  const wanted = Math.min(limit, plan.rows.length, arrival.kind === 'closed' ? limit : MAX_OPENED)
  return Array.from({ length: workers }, (_, worker): WorkerSetup => {
    const share = (total: number) => Math.floor(total / workers) + (worker < total % workers ? 1 : 0)
    return {
      ...shared,
      worker,
      arrival: arrival.kind === 'closed' ? { kind: 'closed', slots: share(limit) } : { kind: 'open', cap: limit },
      connections: share(wanted),
      maxConnections: arrival.kind === 'closed' ? Math.max(1, share(limit)) : limit,
    }
  })
}

/** Row index at which each session starts, and one past the end. Rows of a conversation stand together. */
function sessionStarts(rows: readonly PlanRow[]): Int32Array {
  const starts = rows.flatMap((row, index) => {
    const before = rows[index - 1]
    const joined = before !== undefined && row.conversation !== null && row.conversation === before.conversation
    return joined && row.phase === before.phase ? [] : [index]
  })
  return Int32Array.from([...starts, rows.length])
}

function workerRow(measureOffsetNs: number, exactOutput: boolean): (row: PlanRow) => WorkerRow {
  return (row) => ({
    measure: row.phase === 'measure',
    dueNs: row.dueNs === null ? null : row.dueNs + (row.phase === 'measure' ? measureOffsetNs : 0),
    thinkNs: row.thinkNs,
    inputTokens: row.inputTokens,
    outputTokens: row.outputTokens,
    exactOutput,
  })
}

function serialiseBodies(options: LoadOptions, salt: string): { bodies: SharedArrayBuffer; bodyOffsets: Float64Array } {
  const { plan, scenario, target } = options
  const api = {
    api: target.api,
    model: target.model,
    returnTokenIds: target.returnTokenIds ?? false,
    continuousUsage: target.continuousUsage ?? false,
  }
  const prompt = saltedPrompts(plan.rows, scenario.cache, salt)
  const texts = plan.rows.map((row) => Buffer.from(requestBody(row, prompt(row), scenario, api)))
  const bodyOffsets = new Float64Array(texts.length + 1)
  for (const [index, text] of texts.entries()) bodyOffsets[index + 1] = bodyOffsets[index]! + text.length
  const bodies = new SharedArrayBuffer(bodyOffsets[texts.length]!)
  const all = Buffer.from(bodies)
  for (const [index, text] of texts.entries()) text.copy(all, bodyOffsets[index])
  return { bodies, bodyOffsets }
}

function requestHeaders(apiKey: string | null): string[] {
  const headers = ['content-type', 'application/json', 'accept', 'text/event-stream']
  return apiKey === null ? headers : [...headers, 'authorization', `Bearer ${apiKey}`]
}
