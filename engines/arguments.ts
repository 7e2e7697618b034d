import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import type { ServerOptions } from './http/server.js'
import type { EngineOptions } from './options.js'

/** What one engine process is told to do. */
export interface CommandLine {
  engine: EngineOptions
  server: ServerOptions
  lifetime: LifetimeOptions
}

export interface LifetimeOptions {
  /** End when standard input ends, as it does when the parent dies. */
  exitWithParent: boolean
  /** What requests under way get after SIGTERM. */
  drainDeadlineMs: number
  /** How long a server whose engine died still answers (503) before it exits. */
  graceMs: number
}

/** The command line asks for something impossible: printed, exit code 2. Code 0: help was asked for and printed. */
export class UsageError extends Error {
  readonly code = 'usage'
  constructor(
    message: string,
    readonly exitCode: 0 | 2 = 2,
  ) {
    super(message)
    this.name = 'UsageError'
  }
}

/** Flags as vLLM spells them -> options. `argv` without node and script. Throws UsageError, with the nearest flag for a misspelt one. */
export function parseArguments(argv: readonly string[], env: NodeJS.ProcessEnv): CommandLine {
  const command = defineCommand()
  try {
    command.parse([...argv], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    throw new UsageError(error.message.replace(/^error: /, ''), error.exitCode === 0 ? 0 : 2)
  }
  return toCommandLine(command.opts<Flags>(), env)
}

/** Parsed flags; the key is the flag in camelCase. */
type Flags = Omit<EngineOptions, 'apiKey' | 'dtype'> & {
  dtype: string
  apiKeyFile?: string
  allowedHosts: string[]
  allowedOrigins: string[]
  openMetrics: boolean
  maxBodyBytes: number
  ssePingSecs: number
  stallTimeoutSecs: number
  exitWithParent: boolean
  drainDeadlineSecs: number
  graceSecs: number
}

function toCommandLine(flags: Flags, env: NodeJS.ProcessEnv): CommandLine {
  const { host, port, maxQueue } = flags
  const apiKey = readApiKey(flags.apiKeyFile, env)
  if (apiKey === null && !isLoopback(host)) {
    throw new UsageError(
      `--host ${host} is reachable from other machines: set BENCH_API_KEY or --api-key-file, or bind 127.0.0.1`,
    )
  }
  return {
    engine: { ...engineFlags(flags), apiKey, dtype: DTYPES[flags.dtype] },
    server: {
      ...{ host, port, apiKey, maxQueue },
      allowedHosts: isIP(host) === 0 ? [...flags.allowedHosts, host] : flags.allowedHosts,
      allowedOrigins: flags.allowedOrigins,
      openMetrics: flags.openMetrics,
      maxBodyBytes: flags.maxBodyBytes,
      pingMs: flags.ssePingSecs * 1000,
      stallTimeoutMs: flags.stallTimeoutSecs * 1000,
      maxBufferedBytes: 2 ** 20,
      drainTimeoutMs: 30_000,
      headersTimeoutMs: 10_000,
      requestTimeoutMs: 30_000,
    },
    lifetime: {
      exitWithParent: flags.exitWithParent,
      drainDeadlineMs: flags.drainDeadlineSecs * 1000,
      graceMs: flags.graceSecs * 1000,
    },
  }
}

function engineFlags(flags: Flags): Omit<EngineOptions, 'apiKey' | 'dtype'> {
  const { apiKeyFile, allowedHosts, allowedOrigins, openMetrics, maxBodyBytes, ...rest } = flags
  const { ssePingSecs, stallTimeoutSecs, exitWithParent, drainDeadlineSecs, graceSecs, dtype, ...engine } = rest
  return engine
}

const DTYPES: Record<string, EngineOptions['dtype']> = {
  auto: 'auto',
  f32: 'f32',
  float32: 'f32',
  bf16: 'bf16',
  bfloat16: 'bf16',
}

function defineCommand(): Command {
  const command = new Command('engine')
    .description('One engine behind an OpenAI-compatible server.')
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .allowExcessArguments(false)
  const value = <T>(flag: string, help: string, fallback: T, parse?: (text: string) => T) => {
    const option = new Option(`${flag} <value>`, help).default(fallback)
    command.addOption(parse === undefined ? option : option.argParser(parse))
  }
  const choice = (flag: string, help: string, fallback: string, choices: readonly string[]) =>
    command.addOption(new Option(`${flag} <value>`, help).default(fallback).choices(choices))
  const on = (flag: string, help: string) => {
    command.addOption(new Option(`--${flag}`, help).default(true)).addOption(new Option(`--no-${flag}`))
  }
  const off = (flag: string, help: string) => command.addOption(new Option(`--${flag}`, help).default(false))

  choice('--engine', 'batching', 'paged', ['paged', 'static'])
  value('--model', 'preset, Hugging Face directory, .gguf file or hf:org/name', 'auto')
  value('--served-model-name', 'the id clients name', null)
  value('--host', 'address to bind', '127.0.0.1')
  value('--port', 'port to bind; 0: any free one', 8000, integer(0, 65_535))
  command.option('--api-key-file <file>', 'file that holds the API key (or set BENCH_API_KEY)')
  choice('--backend', 'kernels', 'auto', ['auto', 'cpu', 'cuda'])
  choice('--dtype', 'type of weights and KV cache', 'auto', Object.keys(DTYPES))
  value('--seed', 'seed of random weights', 0, integer(0, Number.MAX_SAFE_INTEGER))
  value('--threads', 'threads of the CPU kernels; 0: one per core', 0, integer(0, 1024))
  value('--max-model-len', "longest context, tokens; 0: the model's own, at most 4096", 0, integer(0, 2 ** 20))
  value('--max-num-seqs', 'sequences that run at once (paged)', 256, integer(1, 4096))
  value('--max-num-batched-tokens', 'token budget of one step', 2048, integer(1, 2 ** 20))
  value('--block-size', 'tokens per KV block (paged)', 16, integer(1, 4096))
  value('--kv-cache-bytes', 'size of the KV pool, bytes', null, integer(1, Number.MAX_SAFE_INTEGER))
  value('--gpu-memory-utilization', 'share of GPU memory to use, weights included', 0.9, fraction)
  choice('--scheduling-policy', 'order of waiting sequences (paged)', 'fcfs', ['fcfs', 'priority'])
  on('enable-prefix-caching', 'reuse KV blocks of equal prompt prefixes (paged)')
  on('enable-chunked-prefill', 'split long prompts over steps (paged)')
  on('async-scheduling', "plan a step before the previous step's tokens are read")
  value('--long-prefill-token-threshold', 'prompt tokens of one sequence per step; 0: off', 0, integer(0, 2 ** 20))
  value('--batch-size', 'largest batch (static)', 256, integer(1, 4096))
  value('--static-max-wait-ms', 'how long a batch gathers (static)', 50, integer(0, 600_000))
  choice('--static-variant', 'padded rows computed, or not (static)', 'literal', ['literal', 'generous'])
  off('enforce-eager', 'no graphs')
  on('fused-kernels', 'fused operations')
  on('wgmma', 'prefill attention by warpgroup matrix instructions (compute capability 9.0)')
  off('deterministic', 'results independent of batch composition')
  value('--cublaslt', "path of libcublasLt, 'auto' or 'none'", 'auto')
  value('--kernel-choices', "file that keeps which kernels were timed as fastest (CUDA), 'auto' or 'none'", 'auto')
  value('--step-trace', 'file for the step trace, JSON lines', null)
  value('--max-queue', 'sequences accepted and not yet finished before 429', 4096, integer(1, 10 ** 6))
  value('--fault', 'inject a fault (tests)', '')
  value('--allowed-hosts', 'further Host names, comma-separated', [], list)
  value('--allowed-origins', 'browser origins that may call, comma-separated', [], list)
  off('open-metrics', '/metrics without the API key')
  value('--max-body-bytes', 'largest request body', 4 * 2 ** 20, integer(1024, 2 ** 30))
  value('--sse-ping-secs', 'idle time of a stream before a comment is sent; 0: never', 15, seconds)
  value('--stall-timeout-secs', 'no step for so long with work queued turns /health to 503; 0: never', 120, seconds)
  off('exit-with-parent', 'end when standard input ends')
  value('--drain-deadline-secs', 'what requests under way get after SIGTERM', 10, seconds)
  value('--grace-secs', 'how long the server answers 503 after its engine died', 5, seconds)
  return command
}

function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (!(number >= min && number <= max))
      throw new InvalidArgumentError(`It must be an integer from ${min} to ${max}.`)
    return number
  }
}

function fraction(text: string): number {
  const number = Number(text)
  if (!(number > 0 && number <= 1)) throw new InvalidArgumentError('It must be above 0 and at most 1.')
  return number
}

function seconds(text: string): number {
  const number = text.trim() === '' ? Number.NaN : Number(text)
  if (!(number >= 0 && number <= 86_400)) throw new InvalidArgumentError('It must be seconds from 0 to 86400.')
  return number
}

function list(text: string): string[] {
  return text.split(',').filter((item) => item !== '')
}

function readApiKey(file: string | undefined, env: NodeJS.ProcessEnv): string | null {
  if (file === undefined) return env['BENCH_API_KEY'] || null
  let key: string
  try {
    key = readFileSync(file, 'utf8').trim()
  } catch (error) {
    throw new UsageError(`--api-key-file ${file} cannot be read: ${(error as Error).message}`)
  }
  if (key === '' || key.length > 4096) throw new UsageError(`--api-key-file ${file} must hold one key`)
  return key
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}
