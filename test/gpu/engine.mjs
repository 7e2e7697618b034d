// Engine processes of the GPU tests: `node dist/engines/main.js`, as a user starts them.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../dist/engines/main.js', import.meta.url))

/**
 * Starts an engine on a free port of the loopback. `ready` resolves to its ready line ({url, info, ...}) and rejects when it ends first or
 * is not ready within `limitMs`; `exited` to its exit code or signal; `log()` is its stderr so far; `stop()` ends it.
 */
export function spawnEngine(args, { env = {}, limitMs = 60_000 } = {}) {
  const child = spawn(process.execPath, [MAIN, '--port', '0', '--exit-with-parent', ...args], {
    env: { ...process.env, BENCH_API_KEY: '', ...env },
  })
  let text = ''
  child.stderr.on('data', (chunk) => {
    text += chunk
  })
  const log = () => text
  const exited = new Promise((resolve) => child.on('close', (code, signal) => resolve(code ?? signal)))
  const ready = new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', (line) => resolve(JSON.parse(line)))
    exited.then((code) => reject(new Error(`the engine ended with ${code} before it was ready:\n${text}`)))
    setTimeout(() => reject(new Error(`not ready within ${limitMs} ms:\n${text}`)), limitMs).unref()
  })
  ready.catch(() => {})
  const stop = async () => {
    child.kill('SIGTERM')
    const killer = setTimeout(() => child.kill('SIGKILL'), 15_000)
    await exited
    clearTimeout(killer)
  }
  return { child, ready, exited, log, stop }
}

/** One completion of token ids, not streamed: {tokens, logprobs}. Throws Error with the server's text. */
export async function complete(url, model, prompt, maxTokens, more = {}) {
  const body = {
    model,
    prompt,
    max_tokens: maxTokens,
    temperature: 0,
    ignore_eos: true,
    return_token_ids: true,
    ...more,
  }
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const answer = await response.json()
  if (!response.ok) throw new Error(`${response.status}: ${JSON.stringify(answer)}`)
  return { tokens: answer.choices[0].token_ids, logprobs: answer.choices[0].logprobs }
}
