#!/usr/bin/env node
// The other load generators beside ours, on the same null server (a process of its own that writes a programmed schedule and nothing else):
//   node test/peers/other-tools.mjs compat  [--guidellm PATH] [--aiperf PATH] [--vllm PATH] --tokenizer DIR [--json FILE]
//   node test/peers/other-tools.mjs ceiling [the same] [--concurrency 16,64,256,1024]
// compat   one load (TTFT 100 ms, 10 ms a token, 16 streams): what each tool prints, beside our column "as that tool would report it".
// ceiling  no pause between tokens: tokens/s that each client takes in, by the server's own stamps; server on core 0, clients on core 1.
// truth    ours alone, server and client on cores of their own: what was programmed beside what was measured, at 1, 16 and 256 streams.
// streams  10,000 open streams at once: lost, and memory.
// A tool that is not given is named as missing. DIR is a folder with a Hugging Face tokenizer.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { calibrate } from '../../dist/src/load/calibrate.js'
import { runLoad } from '../../dist/src/load/generator.js'
import { startNullServer } from '../../dist/src/load/null-process.js'
import { toolColumns } from '../../dist/src/metrics/compatibility.js'
import { readForeignResult } from '../../dist/src/metrics/foreign/result.js'
import { parseScenario } from '../../dist/src/scenario/parse.js'
import { makePlan } from '../../dist/src/scenario/plan.js'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    guidellm: { type: 'string' },
    aiperf: { type: 'string' },
    vllm: { type: 'string' },
    tokenizer: { type: 'string' },
    concurrency: { type: 'string', default: '16,64,256,1024' },
    json: { type: 'string' },
  },
})
const MODEL = 'null-model'
const folder = mkdtempSync(join(tmpdir(), 'other-tools-'))
const cores = { server: 0, client: 1 }

/** How each tool is told to send `requests` of `output` tokens, `concurrency` at a time; returns its result file. */
const TOOLS = {
  guidellm: (url, load) => {
    const file = join(folder, 'guidellm.json')
    call(flags.guidellm, [
      ...['run', '--disable-console', '--backend', `kind=openai_http,target=${url},model=${MODEL}`],
      ...[
        '--profile',
        `kind=concurrent,streams=${load.concurrency}`,
        '--constraint',
        `kind=max_requests,count=${load.requests}`,
      ],
      ...['--data', `kind=synthetic_text,prompt_tokens=32,output_tokens=${load.output}`],
      ...['--tokenizer', `kind=hf_auto,model=${flags.tokenizer}`, '--output', `kind=json,path=${file}`],
    ])
    return file
  },
  aiperf: (url, load) => {
    call(flags.aiperf, [
      ...[
        'profile',
        '--model',
        MODEL,
        '--url',
        url,
        '--endpoint-type',
        'completions',
        '--streaming',
        '--ui-type',
        'none',
      ],
      ...['--concurrency', load.concurrency, '--request-count', load.requests, '--isl', 32, '--osl', load.output],
      ...[
        '--tokenizer',
        flags.tokenizer,
        '--use-server-token-count',
        '--extra-inputs',
        'ignore_eos:true',
        '--artifact-dir',
        folder,
      ],
    ])
    return join(
      folder,
      readdirSync(folder).find((name) => name.endsWith('aiperf.json')),
    )
  },
  vllm: (url, load) => {
    call(flags.vllm, [
      ...['bench', 'serve', '--backend', 'openai', '--base-url', url, '--model', MODEL, '--tokenizer', flags.tokenizer],
      ...[
        '--dataset-name',
        'random',
        '--random-input-len',
        32,
        '--random-output-len',
        load.output,
        '--num-prompts',
        load.requests,
      ],
      ...[
        '--max-concurrency',
        load.concurrency,
        '--ignore-eos',
        '--disable-tqdm',
        '--save-result',
        '--result-dir',
        folder,
      ],
      ...['--result-filename', 'vllm.json', '--percentile-metrics', 'ttft,tpot,itl,e2el'],
    ])
    return join(folder, 'vllm.json')
  },
}
const COLUMN = { guidellm: 'guidellm', aiperf: 'aiperf', vllm: 'vllm bench serve' }

execFileSync('taskset', ['-cp', String(cores.client), String(process.pid)])
const MODES = { compat, ceiling: ceilings, truth, streams }
const result = await (MODES[positionals[0]] ?? compat)()
if (flags.json) writeFileSync(flags.json, `${JSON.stringify(result, null, 1)}\n`)
rmSync(folder, { recursive: true, force: true })

/** Each tool's figures and ours by its definitions, each on a run of its own; the server's own lateness is in both. */
async function compat() {
  const load = { concurrency: 16, requests: 96, output: 64 }
  const rows = []
  const [, ours] = await onServer({ ttftMs: 100, itlMs: 10, tokensPerFrame: 1 }, (server) => oneRun(server, load))
  const columns = toolColumns(ours.records)
  for (const tool of Object.keys(TOOLS)) {
    if (!flags[tool]) {
      console.log(`${tool}: not given`)
      continue
    }
    const [, file] = await onServer({ ttftMs: 100, itlMs: 10, tokensPerFrame: 1 }, (server) =>
      TOOLS[tool](origin(server), load),
    )
    const theirs = readForeignResult(readFileSync(file, 'utf8'), file)[0].column
    const mine = columns.find((column) => column.tool === COLUMN[tool])
    for (const metric of ['ttftMs', 'tpotMs', 'itlMs', 'e2eMs'])
      if (theirs[metric] && mine[metric]) rows.push(row(tool, `${metric} p50`, theirs[metric].p50, mine[metric].p50))
    rows.push(row(tool, 'output tok/s', theirs.outputTokensPerSecond, mine.outputTokensPerSecond))
  }
  console.table(rows)
  return { load, schedule: 'TTFT 100 ms, ITL 10 ms', rows }
}

function row(tool, metric, theirs, ours) {
  return {
    tool,
    metric,
    theirs: round(theirs),
    'ours, as it would': round(ours),
    differencePercent: round(100 * (ours / theirs - 1)),
  }
}

/** Tokens/s each client takes in, in the order A B C, C B A. */
async function ceilings() {
  const rows = []
  const clients = ['ours', ...Object.keys(TOOLS).filter((tool) => flags[tool])]
  for (const concurrency of flags.concurrency.split(',').map(Number)) {
    const load = { concurrency, requests: Math.max(400, 2 * concurrency), output: 200 }
    for (const client of [...clients, ...(concurrency < 1000 ? [...clients].reverse() : [])]) {
      const measured = await onServer({ ttftMs: 0, itlMs: 0, tokensPerFrame: 1 }, (server) =>
        client === 'ours' ? oneRun(server, load) : TOOLS[client](origin(server), load),
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
  for (const concurrency of flags.concurrency.split(',').map(Number)) {
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

function call(program, args) {
  // aiperf, told to be offline, looks for a hub's cache instead of the folder.
  const env = { ...process.env, ...(program !== flags.aiperf && { HF_HUB_OFFLINE: '1' }), NO_COLOR: '1' }
  const { status, stdout, stderr } = spawnSync(program, args.map(String), { encoding: 'utf8', env, timeout: 120_000 })
  if (status !== 0) throw new Error(`${program} ended with ${status}:\n${stdout.slice(-1500)}\n${stderr.slice(-1500)}`)
}

function origin(server) {
  return new URL(server.url).origin
}

function round(value) {
  return value === null || value === undefined ? null : Number(value.toFixed(3))
}
