import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { join } from 'node:path'
import { Failure } from '../failure.js'
import { packageRoot } from '../telemetry/environment.js'

/** The processes that the harness starts and meets only through their arguments, streams and exit codes. */
export const PROCESSES = {
  engine: 'dist/engines/main.js',
  model: 'dist/engines/model/main.js',
  kernelBench: 'dist/kernels/bench.js',
  kernelBuild: 'dist/kernels/build.js',
} as const

/** Runs one of them in the foreground with our terminal; its exit code. Signals reach it through the process group. */
export async function runForeground(which: keyof typeof PROCESSES, args: readonly string[]): Promise<number> {
  const child = start(which, args, { stdio: 'inherit' })
  const ignore = () => {}
  process.on('SIGINT', ignore)
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (status, signal) => resolve(status ?? (signal === 'SIGINT' ? 130 : 3)))
  })
  process.off('SIGINT', ignore)
  return code
}

/** Runs one of them and returns what it printed; its stderr is ours. A non-zero exit is a Failure. */
export async function runForOutput(which: keyof typeof PROCESSES, args: readonly string[]): Promise<string> {
  const child = start(which, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const parts: Buffer[] = []
  child.stdout!.on('data', (part: Buffer) => parts.push(part))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  if (code !== 0)
    throw new Failure(code === 2 ? 'usage' : 'engine-failed', `${PROCESSES[which]} ended with exit code ${code}`)
  return Buffer.concat(parts).toString('utf8')
}

function start(which: keyof typeof PROCESSES, args: readonly string[], options: SpawnOptions): ChildProcess {
  return spawn(process.execPath, [join(packageRoot(), PROCESSES[which]), ...args], options)
}
