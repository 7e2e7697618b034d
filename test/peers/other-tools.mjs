#!/usr/bin/env node
// The other load generators beside ours, on the same null server (a process of its own that writes a programmed schedule and nothing else):
//   node test/peers/other-tools.mjs compat  [--guidellm PATH] [--aiperf PATH] [--vllm PATH] --tokenizer DIR [--json FILE]
//   node test/peers/other-tools.mjs ceiling [the same] [--concurrency 16,64,256,1024] [--writes 1,8]
// compat   one load (TTFT 100 ms, 10 ms a token, 16 streams): what each tool prints, beside our column "as that tool would report it".
// ceiling  no pause between tokens: tokens/s that each client takes in, by the server's own stamps; server on core 0, clients on core 1.
//          --writes: single-token frames of one stream that the server puts into one socket write.
// truth    ours alone: what was programmed and what the server wrote down beside what was measured, at 1, 16 and 256 streams.
// half     ours alone, at half of its ceiling: how late its event loop is.
// streams  ours alone: 10,000 open streams at once, lost and memory.
// A tool that is not given is named as missing. DIR is a folder with a Hugging Face tokenizer.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { toolColumns } from '../../dist/src/metrics/compatibility.js'
import { readForeignResult } from '../../dist/src/metrics/foreign-result.js'
import { ceiling, half } from './ceiling.mjs'
import { MODEL, oneRun, onServer, pinClient, round } from './null-bench.mjs'
import { streams } from './streams.mjs'
import { truth } from './truth.mjs'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    guidellm: { type: 'string' },
    aiperf: { type: 'string' },
    vllm: { type: 'string' },
    tokenizer: { type: 'string' },
    concurrency: { type: 'string', default: '16,64,256,1024' },
    writes: { type: 'string', default: '1,8' },
    json: { type: 'string' },
  },
})
const folder = mkdtempSync(join(tmpdir(), 'other-tools-'))

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

pinClient()
const numbers = (list) => list.split(',').map(Number)
const MODES = {
  compat,
  ceiling: () => ceiling(clients(), numbers(flags.concurrency), numbers(flags.writes)),
  truth: () => truth(),
  half: () => half(numbers(flags.concurrency)),
  streams,
}
const result = await (MODES[positionals[0]] ?? compat)()
if (flags.json) writeFileSync(flags.json, `${JSON.stringify(result, null, 1)}\n`)
rmSync(folder, { recursive: true, force: true })

/** Each tool's figures and ours by its definitions, each on a run of its own; the server's own lateness is in both. */
async function compat() {
  const load = { concurrency: 16, requests: 96, output: 64 }
  const rows = []
  const { value: ours } = await onServer({ ttftMs: 100, itlMs: 10, tokensPerFrame: 1 }, (server) =>
    oneRun(server, load),
  )
  const columns = toolColumns(ours.records)
  for (const tool of Object.keys(TOOLS)) {
    if (!flags[tool]) {
      console.log(`${tool}: not given`)
      continue
    }
    const { value: file } = await onServer({ ttftMs: 100, itlMs: 10, tokensPerFrame: 1 }, (server) =>
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

/** Ours, and every tool that was given. */
function clients() {
  const given = Object.keys(TOOLS).filter((tool) => flags[tool])
  const theirs = given.map((tool) => [tool, (server, load) => TOOLS[tool](origin(server), load)])
  return Object.fromEntries([['ours', oneRun], ...theirs])
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
