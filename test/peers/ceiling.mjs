// Tokens/s that each client takes in from a server that never waits, by the server's own stamps; and how prompt ours is at half of that.
import { clientHealth, failures, oneRun, onServer, round } from './null-bench.mjs'

const ONE_BY_ONE = { ttftMs: 0, itlMs: 0, tokensPerFrame: 1 }
const OUTPUT = 200
/** Enough tokens that starting up does not count: ours takes as many in a second as others in five. */
const loadOf = (concurrency, isOurs) => ({
  concurrency,
  requests: Math.max(400, 2 * concurrency) * (isOurs && concurrency < 1000 ? 5 : 1),
  output: OUTPUT,
})

/**
 * `clients`: name -> (server, load) => run of ours or anything, in the order A B C, C B A. `writes`: frames of one stream in a socket write of the server;
 * 1 is the hardest, above it stands for a server whose send queue is behind. Frames are one token each in both.
 */
export async function ceiling(clients, concurrencies, writes) {
  const rows = []
  for (const concurrency of concurrencies) {
    for (const framesPerWrite of writes) {
      const names = Object.keys(clients)
      for (const client of [...names, ...names.toReversed()]) {
        const load = loadOf(concurrency, client === 'ours')
        rows.push(await flood(client, clients[client], load, framesPerWrite))
        console.log(JSON.stringify(rows.at(-1)))
      }
    }
  }
  return rows
}

async function flood(client, run, load, framesPerWrite) {
  const { traces, value, serverCpuMicros } = await onServer({ ...ONE_BY_ONE, framesPerWrite }, (server) =>
    run(server, load),
  )
  const tokens = traces.reduce((sum, trace) => sum + trace.wroteNs.length, 0)
  const firstNs = traces.reduce((least, trace) => Math.min(least, trace.receivedNs), Number.POSITIVE_INFINITY)
  const lastNs = traces.reduce((most, trace) => Math.max(most, trace.wroteNs.at(-1)), 0)
  const ours = value?.health !== undefined
  return {
    concurrency: load.concurrency,
    client,
    framesPerWrite,
    tokens,
    tokensPerSecond: Math.round(tokens / ((lastNs - firstNs) / 1e9)),
    serverCpuMicrosPerToken: round(serverCpuMicros / tokens),
    ...(ours ? { ...clientHealth(value, tokens), tokensPerRead: tokensPerRead(value.records) } : {}),
    failed: ours ? failures(value.records) : load.requests - value.result.requestsOk,
  }
}

function tokensPerRead(records) {
  const reads = records.reduce((sum, record) => sum + record.readNs.length, 0)
  return round(records.reduce((sum, record) => sum + record.counted, 0) / reads)
}

/** Ours at half of its ceiling with one frame a write, which is measured first: tokens come evenly, and the event loop must still be prompt. */
export async function half(concurrencies) {
  const rows = []
  for (const concurrency of concurrencies) {
    const { tokensPerSecond } = await flood('ours', oneRun, loadOf(concurrency, true), 1)
    const itlMs = (2000 * concurrency) / tokensPerSecond
    const output = Math.max(20, Math.round(2000 / itlMs))
    const { traces, value } = await onServer({ ttftMs: 20, itlMs, tokensPerFrame: 1 }, (server) =>
      oneRun(server, { concurrency, requests: 3 * concurrency, output, warmup: concurrency }),
    )
    const tokens = traces.reduce((sum, trace) => sum + trace.wroteNs.length, 0)
    const achieved = tokens / ((value.endNs - value.startNs) / 1e9)
    rows.push({
      concurrency,
      ceilingTokensPerSecond: tokensPerSecond,
      itlMs: round(itlMs),
      tokensPerSecond: Math.round(achieved),
      ...clientHealth(value, tokens),
      failed: failures(value.records),
    })
    console.log(JSON.stringify(rows.at(-1)))
  }
  return rows
}
