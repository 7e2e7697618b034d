#!/usr/bin/env node
import { parseArguments, UsageError } from './arguments.js'
import { startEngine } from './client.js'
import { EngineError } from './engine-error.js'
import { EngineServer } from './http/server.js'
import { EXIT_ENGINE_DIED, Lifetime } from './lifetime.js'
import { ModelError } from './model/errors.js'
import { openModel } from './model/model.js'
import { resolveModel } from './model/resolve.js'
import { resolveContext } from './model/resolve-context.js'
import { chooseModel } from './model-choice.js'

/**
 * One engine process: binds its port, loads the model, prints one line of JSON on stdout when it serves
 * ({"event":"ready","url","pid","engine","model","info"}; url is the origin, routes begin at /v1), and logs on stderr.
 * Exit codes: 0 ended as asked, 2 cannot start as asked (flags, port, model, memory), 3 the engine failed.
 */
async function main(): Promise<void> {
  const {
    engine: options,
    server: serverOptions,
    lifetime: lifetimeOptions,
  } = parseArguments(process.argv.slice(2), process.env)
  const server = new EngineServer(serverOptions, (error) => log(`internal error: ${describe(error)}`))
  const url = await server.listen()
  const lifetime = new Lifetime(server, lifetimeOptions, log)
  const source = await resolveModel(await chooseModel(options), options.seed, { ...resolveContext(), progress: log })
  if (source.notice !== null) log(`NOTICE: ${source.notice}`)
  const model = openModel(source)
  const maxModelLen = options.maxModelLen || Math.min(model.config.maxPositions, DEFAULT_MAX_MODEL_LEN)
  const engine = await startEngine({ ...options, maxModelLen }, source)
  lifetime.watch(engine)
  const modelName = options.servedModelName ?? source.id
  const created = Math.floor(Date.now() / 1000)
  server.serve({ engine, codec: model.tokenizer, chatTemplate: model.chatTemplate, modelName, created })
  const ready = { event: 'ready', url, pid: process.pid, engine: options.engine, model: modelName, info: engine.info }
  process.stdout.write(`${JSON.stringify(ready)}\n`)
  log(`${options.engine} engine serves ${modelName} at ${url}/v1`)
}

/** Longer contexts make the static engine's slots so large that few fit: they are asked for by flag. Tokens. */
const DEFAULT_MAX_MODEL_LEN = 4096

function log(line: string): void {
  process.stderr.write(`engine: ${line}\n`)
}

function fail(error: unknown): never {
  if (error instanceof UsageError) {
    if (error.exitCode !== 0) log(error.message)
    process.exit(error.exitCode)
  }
  log(describe(error))
  process.exit(exitCode(error))
}

function exitCode(error: unknown): number {
  if (error instanceof ModelError) return error.code === 'download_failed' ? EXIT_ENGINE_DIED : 2
  if (error instanceof EngineError) return USER_ENGINE_ERRORS.has(error.code) ? 2 : EXIT_ENGINE_DIED
  return isBindError(error) ? 2 : EXIT_ENGINE_DIED
}

const USER_ENGINE_ERRORS: ReadonlySet<string> = new Set([
  'options-conflict',
  'context-too-long',
  'kv-memory-short',
  'device-memory-short',
])

function isBindError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && (error.syscall === 'listen' || error.syscall === 'bind')
}

function describe(error: unknown): string {
  if (error instanceof ModelError) return error.fix === '' ? error.message : `${error.message} (${error.fix})`
  if (error instanceof EngineError) return error.message
  if (isBindError(error)) return `cannot bind the port: ${(error as Error).message}`
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

main().catch(fail)
