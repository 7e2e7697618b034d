#!/usr/bin/env node
// The other load generators beside ours, on the same null server (a process of its own that writes a programmed schedule and nothing else):
//   node test/peers/other-tools.mjs compat|same-events [--guidellm PATH] [--aiperf PATH] [--vllm PATH] --tokenizer DIR [--api chat] [--json FILE]
//   node test/peers/other-tools.mjs ceiling [the same] [--concurrency 16,64,256,1024]
// compat, same-events  see compat.mjs; --keep DIR keeps the files of same-events, --requests N sends so many.
// ceiling  no pause between tokens: tokens/s that each client takes in, by the server's own stamps; server on core 0, clients on core 1.
// truth    ours alone, server and client on cores of their own: what was programmed beside what was measured, at 1, 16 and 256 streams.
// streams  10,000 open streams at once: lost, and memory.
// A tool that is not given is named as missing. DIR is a folder with a Hugging Face tokenizer.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { calibrate } from '../../dist/src/load/calibrate.js'
import { runLoad } from '../../dist/src/load/generator.js'
import { startNullServer } from '../../dist/src/load/null-process.js'
import { parseScenario } from '../../dist/src/scenario/parse.js'
import { makePlan } from '../../dist/src/scenario/plan.js'
import { compat, sameEvents } from './compat.mjs'
import { givenTools, MODEL, runTool } from './tools.mjs'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    guidellm: { type: 'string' },
    aiperf: { type: 'string' },
    vllm: { type: 'string' },
    tokenizer: { type: 'string' },
    concurrency: { type: 'string' },
    api: { type: 'string', default: 'chat' },
    keep: { type: 'string' },
    requests: { type: 'string' },
    json: { type: 'string' },
  },
})
const folder = mkdtempSync(join(tmpdir(), 'other-tools-'))
const cores = { server: 0, client: 1 }

execFileSync('taskset', ['-cp', String(cores.client), String(process.pid)])
const MODES = {
  compat: () => compat({ ...flags, concurrency: streamsOf(flags.concurrency ?? '1,4') }, folder),
  'same-events': () => sameEvents(flags, folder),
  ceiling: ceilings,
  truth,
  streams,
}
const mode = MODES[positionals[0]]
if (mode === undefined) throw new Error(`give a mode: ${Object.keys(MODES).join(', ')}`)
const result = await mode()
if (flags.json) writeFileSync(flags.json, `${JSON.stringify(result, null, 1)}\n`)
rmSync(folder, { recursive: true, force: true })

/** Tokens/s each client takes in, in the order A B C, C B A. */
async function ceilings() {
  const rows = []
  const clients = ['ours', ...givenTools(flags)]
  for (const concurrency of streamsOf(flags.concurrency ?? '16,64,256,1024')) {
    const load = {
      concurrency,
      requests: Math.max(400, 2 * concurrency),
      output: 200,
      api: 'completions',
      detailed: false,
    }
    for (const client of [...clients, ...(concurrency < 1000 ? [...clients].reverse() : [])]) {
      const measured = await onServer({ ttftMs: 0, itlMs: 0, tokensPerFrame: 1 }, (server) =>
        client === 'ours' ? oneRun(server, load) : runTool(client, flags, origin(server), load, folder),
      )
      const [traces, own] = measured
      const stamps = traces.flatMap((trace) => [trace.receivedNs, trace.wroteNs.at(-1)])
      const tokens = traces.reduce((sum, trace) => sum + trace.wroteNs.length, 0)
      const secs =
        (stamps.reduce((a, b) => Math.max(a, b), 0) - stamps.reduce((a, b) => Math.min(a, b), Infinity)) / 1e9
      const health = own?.health?.filter((worker) => worker.socketsOpened > 0) ?? []
      rows.push({
        concurrency,
        client,
        tokens,
        tokensPerSecond: Math.round(tokens / secs),
        serverCpuMicrosPerToken: round(measured.serverCpuMicros / tokens),
        clientCpuMicrosPerToken: health.length
          ? round((1e6 * health.reduce((sum, one) => sum + one.cpuSecs, 0)) / tokens)
          : null,
        loopDelayP99Ms: health.length ? round(Math.max(...health.map((one) => one.eventLoopDelayP99Ms))) : null,
      })
      console.log(JSON.stringify(rows.at(-1)))
    }
  }
  for (const concurrency of streamsOf(flags.concurrency ?? '16,64,256,1024')) {
    const best = Math.max(
      ...rows
        .filter((row) => row.client === 'ours' && row.concurrency === concurrency)
        .map((row) => row.tokensPerSecond),
    )
    rows.push(await atHalf(concurrency, best))
    console.log(JSON.stringify(rows.at(-1)))
  }
  return rows
}

/** At half of what the client can take in: its event loop must still be prompt. */
async function atHalf(concurrency, tokensPerSecond) {
  const itlMs = (2000 * concurrency) / tokensPerSecond
  const output = Math.max(20, Math.round(3000 / itlMs))
  const [, own] = await onServer({ ttftMs: 20, itlMs, tokensPerFrame: 1 }, (server) =>
    oneRun(server, { concurrency, requests: 2 * concurrency, output }),
  )
  const health = own.health.filter((worker) => worker.socketsOpened > 0)
  const loopDelayP99Ms = round(Math.max(...health.map((one) => one.eventLoopDelayP99Ms)))
  return { concurrency, client: 'ours at half', itlMs: round(itlMs), loopDelayP99Ms, failed: failures(own.records) }
}

async function truth() {
  const rows = []
  const schedule = { ttftMs: 100, itlMs: 20, tokensPerFrame: 1 }
  for (const concurrency of [1, 16, 256]) {
    const report = await calibrate({
      concurrency,
      schedule,
      outputTokens: 64,
      requests: Math.max(24, 2 * concurrency),
      workers: 1,
    })
    const { ttftAddedMsP50, ttftAddedMsP99, itlAddedMsP50, itlAddedMsP99, ttftErrorMs, itlErrorMs } = report
    const ok = `${report.requestsOk} of ${report.requests}`
    const added = [ttftAddedMsP50, ttftAddedMsP99, itlAddedMsP50, itlAddedMsP99].map(round)
    rows.push({
      concurrency,
      ok,
      'TTFT error p50 ms': round(ttftErrorMs.p50),
      'ITL error p50 ms': round(itlErrorMs.p50),
    })
    Object.assign(rows.at(-1), {
      'client adds TTFT p50': added[0],
      p99: added[1],
      'ITL p50': added[2],
      'ITL p99': added[3],
    })
  }
  console.table(rows)
  return { schedule, rows }
}

async function streams() {
  const [, own] = await onServer({ ttftMs: 20_000, itlMs: 1000, tokensPerFrame: 1 }, (server) =>
    oneRun(server, { concurrency: 10_000, requests: 10_000, output: 4 }),
  )
  const peakMiB = Math.round(process.resourceUsage().maxRSS / 1024)
  const outcome = {
    streams: 10_000,
    complete: own.records.length - failures(own.records),
    lost: failures(own.records),
    peakMiB,
  }
  console.log(JSON.stringify(outcome))
  return outcome
}

function failures(records) {
  return records.filter((record) => record.outcome !== 'ok').length
}

async function onServer(schedule, use) {
  const server = await startNullServer(schedule)
  execFileSync('taskset', ['-acp', String(cores.server), String(server.pid)])
  const before = cpuMicros(server.pid)
  try {
    const value = await use(server)
    const serverCpuMicros = cpuMicros(server.pid) - before
    return Object.assign([await server.takeTraces(), value], { serverCpuMicros })
  } finally {
    server.close()
  }
}

/** User and system time of a process so far, us, from its /proc stat line (ticks of 10 ms). */
function cpuMicros(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 1e4
}

async function oneRun(server, { concurrency, requests, output }) {
  const text = `workload: {input: 32, output: ${output}}\nload: {concurrency: ${concurrency}, requests: ${requests}}\n`
  const scenario = parseScenario(text, 'other-tools')
  const plan = await makePlan(scenario, { vocabSize: 32_000 })
  const target = { baseUrl: server.url, apiKey: null, api: 'completions', model: MODEL }
  return await runLoad({ plan, scenario, workers: 1, target })
}

/** '16,64' */
function streamsOf(text) {
  return text.split(',').map(Number)
}

function origin(server) {
  return new URL(server.url).origin
}

function round(value) {
  return value === null || value === undefined ? null : Number(value.toFixed(3))
}
