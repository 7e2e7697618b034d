import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { EngineInfo } from '../../engines/engine.js'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const MAIN = `${ROOT}dist/engines/main.js`
const START_LIMIT_MS = 180_000

export interface EngineProcess {
  url: string
  port: number
  model: string
  info: EngineInfo
  child: ChildProcess
  /** All of stderr so far. */
  log(): string
  /** Resolves to the exit code, or the signal's name. */
  exited: Promise<number | string>
  /** SIGKILL when still running. */
  stop(): Promise<void>
}

/** Starts `node dist/engines/main.js` on a free port, on the CPU kernels, and waits for its ready line. */
export async function startEngineProcess(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<EngineProcess> {
  const started = spawnEngine(args, env)
  const ready = await Promise.race([
    started.ready,
    started.exited.then((code) => {
      throw new Error(`the engine ended with ${code} before it was ready:\n${started.log()}`)
    }),
    new Promise<never>((_, reject) =>
      setTimeout(() => reject(new Error(`not ready in time:\n${started.log()}`)), START_LIMIT_MS).unref(),
    ),
  ])
  return { ...started, ...ready, port: Number(new URL(ready.url).port) }
}

/** The same without waiting: for what happens before it is ready. */
export function spawnEngine(args: readonly string[], env: Record<string, string> = {}) {
  build()
  const child = spawn(process.execPath, [MAIN, '--backend', 'cpu', '--port', '0', ...args], {
    env: { ...process.env, BENCH_API_KEY: '', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let log = ''
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk
  })
  const exited = new Promise<number | string>((resolve) =>
    child.on('exit', (code, signal) => resolve(code ?? signal ?? 'unknown')),
  )
  const ready = new Promise<{ url: string; model: string; info: EngineInfo }>((resolve) =>
    createInterface({ input: child.stdout }).once('line', (line) => resolve(JSON.parse(line))),
  )
  const stop = async () => {
    child.kill('SIGKILL')
    await exited
  }
  return { child, exited, ready, stop, log: () => log }
}

/** The process runs compiled JavaScript; a checkout that was never built is built once. */
function build(): void {
  if (existsSync(MAIN)) return
  execFileSync(process.execPath, [`${ROOT}node_modules/typescript/bin/tsc`, '-p', `${ROOT}tsconfig.build.json`])
}
