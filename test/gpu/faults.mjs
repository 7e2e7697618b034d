#!/usr/bin/env node
// What happens when things go wrong on the card: each case must end in a clear error, within its time, and nothing may hang.
//   node test/gpu/faults.mjs [--backend cuda] [--only PATTERN] [--json FILE]
// With --backend cpu those cases run that need no card. Exit code 1: a case went otherwise.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { complete, spawnEngine } from './engine.mjs'
import { promptOf } from './requests.mjs'

const { values: flags } = parseArgs({
  options: {
    backend: { type: 'string', default: 'cuda' },
    only: { type: 'string', default: '' },
    json: { type: 'string' },
  },
})
const cuda = flags.backend === 'cuda'
const TINY = ['--model', 'tiny', '--backend', flags.backend]
/** A cache of 128 MB: nothing that has to be measured, so that starting takes as little as it can. */
const SMALL = [...TINY, '--kv-cache-bytes', '128000000', '--max-num-seqs', '8']
const ERROR_LIMIT_MS = 1000
const results = []

await check('a launch fails in a captured decode step', () => launchFault(['--fault', 'launch:4000'], 'paged'))
await check('a launch fails in an eager step', () =>
  launchFault(['--fault', 'launch:40000', '--enforce-eager'], 'paged'),
)
await check('a launch fails under the static engine', () =>
  launchFault(['--fault', 'launch:4000', '--batch-size', '8'], 'static'),
)
for (const nth of [1, 8, 25])
  await check(`allocation ${nth} fails`, () => refused([...TINY, '--fault', `alloc:${nth}`], 2, /memory/i))
await check('a KV cache of less than one block', () =>
  refused([...TINY, '--kv-cache-bytes', '1000'], 2, /KV cache; one block takes/),
)
await check('no visible device, CUDA asked for', () =>
  refused(
    ['--model', 'tiny', '--backend', 'cuda'],
    3,
    /no CUDA device|no usable CUDA device|no NVIDIA driver|no CUDA kernels/,
    { CUDA_VISIBLE_DEVICES: '' },
  ),
)
await check('no visible device, any backend: the CPU serves and says so', () =>
  serves(['--model', 'tiny', '--kv-cache-bytes', '128000000'], { CUDA_VISIBLE_DEVICES: '' }, ({ backend }, log) => [
    backend === 'cpu' && (!cuda || /no usable GPU/.test(log)),
    `backend ${backend}`,
  ]),
)
if (cuda) {
  await check('f32 on CUDA', () => refused([...TINY, '--dtype', 'f32'], 3, /bf16 only/))
  await check('a model too large for its share of the card', () =>
    refused(
      ['--model', 'llama-3-8b', '--backend', 'cuda', '--gpu-memory-utilization', '0.1'],
      2,
      /has 16\.\d GB of weights; .*These would fit: /,
    ),
  )
  await check('no cuBLASLt', () => serves([...SMALL, '--cublaslt', 'none'], {}, () => [true, '']))
  await check('a cuBLASLt that is not there', () =>
    refused([...SMALL, '--cublaslt', '/nowhere/libcublasLt.so'], 3, /cublas/i),
  )
  await check('another process on the card', sharedCard)
  await check('kept kernel choices: used again, mended when damaged, done without when unwritable', keptChoices)
}
if (flags.json) writeFileSync(flags.json, JSON.stringify(results))
const failed = results.filter(({ ok }) => !ok).length
console.log(
  failed === 0 ? `faults: ${results.length} cases as they should be` : `faults: ${failed} of ${results.length} FAILED`,
)
process.exit(failed === 0 ? 0 : 1)

async function check(name, body) {
  if (!new RegExp(flags.only).test(name)) return
  const started = performance.now()
  let ok = false
  let detail = ''
  try {
    ;[ok, detail] = await body()
  } catch (error) {
    detail = error.message
  }
  const secs = (performance.now() - started) / 1e3
  results.push({ name, ok, detail, secs })
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${name} (${secs.toFixed(1)} s): ${detail}`)
}

/** A start writes the file, the next adds nothing; a damaged file and one of another origin are begun anew; no file, no matter. */
async function keptChoices() {
  const folder = mkdtempSync(join(tmpdir(), 'choices-'))
  const file = join(folder, 'sub', 'matmul')
  const start = async (path) => {
    const [ok] = await serves([...SMALL, '--kernel-choices', path], {}, () => [true, ''])
    return ok
  }
  const read = () => readFileSync(file, 'utf8')
  const lines = (text) => text.split('\n').length
  const first = (await start(file)) && read()
  const again = (await start(file)) && read()
  writeFileSync(file, `${first.slice(0, first.indexOf('\n') + 1)}1 2 3 nonsense\n64 64`)
  const damaged = (await start(file)) && read()
  writeFileSync(file, first.replace('pagedbench', 'another'))
  const foreign = (await start(file)) && read()
  const without = await start(join(file, 'below-a-file', 'matmul'))
  rmSync(folder, { recursive: true })
  const ok =
    lines(first) > 10 &&
    again === first &&
    lines(damaged) >= lines(first) &&
    foreign.split('\n')[0] === first.split('\n')[0] &&
    without
  return [ok, `${lines(first)} lines, then ${lines(again)}, ${lines(damaged)}, ${lines(foreign)}`]
}

/** Eight streams under way when it happens: each ends with an error event within a second, /health says 503, the process exits with 3. */
async function launchFault(args, kind) {
  const engine = spawnEngine([...SMALL, ...args, '--engine', kind, '--grace-secs', '1'])
  try {
    const { url, model } = await engine.ready
    const died = firstSign(engine)
    const streams = Array.from({ length: 8 }, (_, i) => stream(url, model, promptOf(20 + i, i, 4096)))
    const ends = await within(30_000, Promise.all(streams), 'the streams')
    const diedMs = Math.min(await died, ...ends.map(({ endedMs }) => endedMs))
    const [health, refusal] = await Promise.all([
      fetch(`${url}/health`),
      complete(url, model, [300], 1).then(
        () => 'served',
        (error) => error.message,
      ),
    ])
    const code = await within(10_000, engine.exited, 'the exit')
    const slowestMs = Math.max(...ends.map(({ endedMs }) => endedMs)) - diedMs
    const wrong = [
      ends.every(({ error, done, tokens }) => error === 'engine_error' && done && tokens > 0)
        ? ''
        : `streams ended as ${JSON.stringify(ends)}`,
      slowestMs <= ERROR_LIMIT_MS ? '' : `the last stream ended ${slowestMs.toFixed(0)} ms late`,
      health.status === 503 ? '' : `/health ${health.status}`,
      /^503: .*engine_dead/.test(refusal) ? '' : `a new request: ${refusal}`,
      code === 3 ? '' : `exit code ${code}`,
      /injected launch failure|as the fault option asks/.test(engine.log()) ? '' : 'the log does not name it',
    ].filter((text) => text !== '')
    const tokens = ends.map((end) => end.tokens)
    return [
      wrong.length === 0,
      wrong.join('; ') ||
        `after ${Math.min(...tokens)} to ${Math.max(...tokens)} tokens all 8 streams ended within ${slowestMs.toFixed(0)} ms; ${line(engine.log(), /died/)}`,
    ]
  } finally {
    engine.child.kill('SIGKILL')
  }
}

/** When the log says that the engine has died, ms. */
function firstSign(engine) {
  return new Promise((resolve) => {
    const look = setInterval(() => {
      if (!/has died/.test(engine.log())) return
      clearInterval(look)
      resolve(performance.now())
    }, 5)
    engine.exited.then(() => {
      clearInterval(look)
      resolve(performance.now())
    })
  })
}

/** A streamed completion to its end: tokens received, the error event's code, whether [DONE] came. */
async function stream(url, model, prompt) {
  const body = {
    model,
    prompt,
    max_tokens: 4000,
    temperature: 0,
    ignore_eos: true,
    stream: true,
    return_token_ids: true,
  }
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const text = await response.text()
  const events = text
    .split('\n\n')
    .filter((event) => event.startsWith('data: '))
    .map((event) => event.slice(6))
  const parsed = events.filter((event) => event !== '[DONE]').map((event) => JSON.parse(event))
  const tokens = parsed.filter((event) => event.choices?.length > 0).length
  return {
    tokens,
    error: parsed.at(-1)?.error?.code ?? null,
    done: events.at(-1) === '[DONE]',
    endedMs: performance.now(),
  }
}

/** The process ends with `code` before it is ready, and says why. */
async function refused(args, code, pattern, env = {}) {
  const engine = spawnEngine(args, { env })
  try {
    const got = await within(60_000, engine.exited, 'the exit')
    const said = pattern.test(engine.log())
    return [
      got === code && said,
      `exit code ${got}${got === code ? '' : ` (not ${code})`}: ${said ? line(engine.log(), pattern) : engine.log().slice(-600)}`,
    ]
  } finally {
    engine.child.kill('SIGKILL')
  }
}

async function serves(args, env, judge) {
  const engine = spawnEngine(args, { env })
  try {
    const { url, model, info } = await engine.ready
    const { tokens } = await complete(url, model, promptOf(40, 1, 4096), 32)
    const [ok, detail] = judge(info, engine.log())
    return [ok && tokens.length === 32, `${tokens.length} tokens from ${info.deviceName} ${detail}`]
  } finally {
    await engine.stop()
  }
}

/** One engine holds 90 % of the card: doctor counts it, and a second engine is refused with what is free. */
async function sharedCard() {
  const first = spawnEngine([...TINY, '--max-num-seqs', '8'])
  try {
    await first.ready
    const bench = fileURLToPath(new URL('../../bench', import.meta.url))
    const doctor = spawnSync(bench, ['doctor'], { encoding: 'utf8', timeout: 60_000 }).stdout
    const counted = line(doctor, /other processes/)
    const listed = execFileSync('nvidia-smi', ['--query-compute-apps=pid', '--format=csv,noheader'], {
      encoding: 'utf8',
    }).trim()
    const seen = /[1-9]\d* on the card/.test(counted)
    const [refusedOk, said] = await refused(TINY, 2, /free/)
    const hidden = listed === '' ? ' (nvidia-smi lists no process either: this container hides them)' : ''
    return [refusedOk && (seen || listed === ''), `doctor: ${counted}${hidden}; second engine: ${said}`]
  } finally {
    await first.stop()
  }
}

function line(text, pattern) {
  return (text.split('\n').find((candidate) => pattern.test(candidate)) ?? '').trim().slice(0, 300)
}

function within(ms, promise, what) {
  return Promise.race([
    promise,
    new Promise((_, reject) => setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms).unref()),
  ])
}
