// How each other load generator is called, and where its results are. flags: the paths of the programs, and `tokenizer`, a folder with a
// Hugging Face tokenizer. load: {concurrency, requests, output, api: 'completions' | 'chat', detailed}; detailed: events of every request too.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readForeignResult } from '../../dist/src/metrics/foreign/result.js'
import { MODEL } from './null-bench.mjs'

/** Our column of each. */
export const COLUMN = { guidellm: 'guidellm', aiperf: 'aiperf', vllm: 'vllm bench serve' }
const INPUT = 32
/** Files a process may open: a socket a stream, and what Python and its workers hold beside. */
const OPEN_FILES = 16_384
const LIMIT_MS = 240_000
/** A thousand sockets opened at once by one busy core take longer than guidellm's 5 s. */
const CONNECT_SECS = 60

/** Runs `tool` against the server at `url`, and reads what it wrote into a new folder under `parent`. */
export function runTool(tool, flags, url, load, parent) {
  const folder = mkdtempSync(join(parent, `${tool}-`))
  const { file, records } = TOOLS[tool]({ flags, url, load, folder })
  const text = (path) => (path === undefined ? undefined : readFileSync(path, 'utf8'))
  const [result] = readForeignResult(text(file), file, text(records))
  return { folder, result }
}

/** Those of --guidellm, --aiperf, --vllm that were given; the others are named. */
export function givenTools(flags) {
  for (const tool of Object.keys(TOOLS)) if (!flags[tool]) console.log(`${tool}: not given`)
  return Object.keys(TOOLS).filter((tool) => flags[tool])
}

const TOOLS = {
  guidellm: ({ flags, url, load, folder }) => {
    const file = join(folder, 'guidellm.json')
    const format = load.api === 'chat' ? '/v1/chat/completions' : '/v1/completions'
    call(flags.guidellm, [
      ...['run', '--disable-console'],
      ...[
        '--backend',
        `kind=openai_http,target=${url},model=${MODEL},request_format=${format},timeout_connect=${CONNECT_SECS}`,
      ],
      ...['--profile', `kind=concurrent,streams=${load.concurrency}`],
      ...['--constraint', `kind=max_requests,count=${load.requests}`],
      ...['--data', `kind=synthetic_text,prompt_tokens=${INPUT},output_tokens=${load.output}`],
      ...['--tokenizer', `kind=hf_auto,model=${flags.tokenizer}`],
      ...['--output', `kind=json,path=${file}`],
    ])
    return { file }
  },
  aiperf: ({ flags, url, load, folder }) => {
    call(
      flags.aiperf,
      [
        ...['profile', '--model', MODEL, '--url', url, '--streaming', '--ui-type', 'none'],
        ...['--endpoint-type', load.api, '--concurrency', load.concurrency, '--request-count', load.requests],
        ...['--isl', INPUT, '--osl', load.output, '--tokenizer', flags.tokenizer, '--use-server-token-count'],
        ...['--extra-inputs', 'ignore_eos:true', '--artifact-dir', folder],
        ...['--export-level', load.detailed ? 'raw' : 'summary'],
      ],
      // Told to be offline, it looks for a hub's cache instead of the folder.
      { HF_HUB_OFFLINE: undefined },
    )
    const file = join(folder, 'profile_export_aiperf.json')
    return load.detailed ? { file, records: join(folder, 'profile_export_raw.jsonl') } : { file }
  },
  vllm: ({ flags, url, load, folder }) => {
    const chat = load.api === 'chat'
    call(flags.vllm, [
      ...['bench', 'serve', '--backend', chat ? 'openai-chat' : 'openai', '--base-url', url],
      ...['--endpoint', chat ? '/v1/chat/completions' : '/v1/completions', '--model', MODEL],
      ...['--tokenizer', flags.tokenizer, '--dataset-name', 'random'],
      ...['--random-input-len', INPUT, '--random-output-len', load.output, '--num-prompts', load.requests],
      ...['--max-concurrency', load.concurrency, '--ignore-eos', '--disable-tqdm'],
      ...['--save-result', '--result-dir', folder, '--result-filename', 'vllm.json'],
      ...['--percentile-metrics', 'ttft,tpot,itl,e2el', '--metric-percentiles', '50,90,99'],
      ...(load.detailed ? ['--save-detailed'] : []),
    ])
    return { file: join(folder, 'vllm.json') }
  },
}

function call(program, args, env = {}) {
  const shell = ['-c', `ulimit -n ${OPEN_FILES}; exec "$@"`, 'call', program, ...args.map(String)]
  const { status, signal, stdout, stderr } = spawnSync('bash', shell, {
    encoding: 'utf8',
    env: { ...process.env, HF_HUB_OFFLINE: '1', NO_COLOR: '1', ...env },
    timeout: LIMIT_MS,
    maxBuffer: 1 << 28,
  })
  if (status !== 0)
    throw new Error(`${program} ended with ${status ?? signal}:\n${stdout.slice(-1500)}\n${stderr.slice(-1500)}`)
}
