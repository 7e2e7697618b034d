import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { DEFAULT_MODEL } from './default-model.js'
import { describeModel, type ModelDescription } from './describe.js'
import { ModelError, type ModelErrorCode } from './errors.js'
import { listModels } from './listing.js'
import { openModel } from './model.js'
import { nearest } from './nearest.js'
import { resolveModel } from './resolve.js'
import type { ResolveContext } from './resolve-context.js'

const COMMANDS = { pull, show: pull, list, 'export-tokenizer': exportTokenizer } as const

const USAGE = `usage: bench model <command> [options]
  pull [NAME]              fetch a model into the cache, verify it, say what it is
  show [NAME]              what a model is: dimensions, weights, sizes, checksum
  list                     known names and what the cache holds
  export-tokenizer [NAME]  its tokenizer.json, to stdout or --out DIR
options: --json  --seed N  --out DIR
NAME: ${DEFAULT_MODEL} (default), a preset, a directory, a .gguf file, hf:org/name`

interface Flags {
  json: boolean
  seed: number
  out: string | null
}

/** Where a command writes, and what resolving may use. */
export interface CommandIo {
  stdout: (text: string) => void
  stderr: (text: string) => void
  context: ResolveContext
}

/** `bench model ...`. Returns the exit code: 0, 2 (unknown name, flag or unusable file), 3 (could not be fetched). */
export async function runModelCommand(args: string[], io: CommandIo): Promise<number> {
  try {
    const { command, name, flags } = parse(args)
    io.stdout(await COMMANDS[command](name, flags, io.context))
    return 0
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) {
      io.stderr(`${error.message}\n`) // a cache that cannot be written, a full disk
      return 3
    }
    if (!(error instanceof ModelError)) throw error
    io.stderr(`${error.message}\n${error.fix === '' ? '' : `  ${error.fix}\n`}`)
    return FETCH_ERRORS.has(error.code) ? 3 : 2
  }
}

const FETCH_ERRORS: ReadonlySet<ModelErrorCode> = new Set(['download_failed', 'unauthorized', 'checksum_mismatch'])

function parse(args: string[]): { command: keyof typeof COMMANDS; name: string; flags: Flags } {
  const options = { json: { type: 'boolean' }, seed: { type: 'string' }, out: { type: 'string' } } as const
  let parsed: ReturnType<typeof parseArgs<{ options: typeof options; allowPositionals: true }>>
  try {
    parsed = parseArgs({ args, options, allowPositionals: true })
  } catch (cause) {
    throw new ModelError('usage', (cause as Error).message, null, USAGE, { cause })
  }
  const [command = '', name = DEFAULT_MODEL, ...rest] = parsed.positionals
  if (!Object.hasOwn(COMMANDS, command) || rest.length > 0) {
    const near = nearest(command, Object.keys(COMMANDS))
    const what = rest.length > 0 ? `unexpected "${rest[0]}"` : `unknown command "${command}"`
    throw new ModelError('usage', what, null, near === null ? USAGE : `did you mean ${near}?`)
  }
  const { json = false, seed = '0', out = null } = parsed.values
  if (!/^\d{1,9}$/.test(seed)) throw new ModelError('usage', `--seed ${seed} is not a whole number`, '--seed')
  return { command: command as keyof typeof COMMANDS, name, flags: { json, seed: Number(seed), out } }
}

async function pull(name: string, flags: Flags, context: ResolveContext): Promise<string> {
  const source = await resolveModel(name, flags.seed, context)
  const description = describeModel(source)
  return flags.json ? `${JSON.stringify(description)}\n` : descriptionText(description)
}

async function list(_name: string, flags: Flags, context: ResolveContext): Promise<string> {
  const models = listModels(context.cacheDirectory)
  if (flags.json) return `${JSON.stringify(models)}\n`
  return models.map(({ name, kind, detail }) => `${name.padEnd(28)} ${kind.padEnd(8)} ${detail}\n`).join('')
}

async function exportTokenizer(name: string, flags: Flags, context: ResolveContext): Promise<string> {
  const source = await resolveModel(name, flags.seed, context)
  const json = `${JSON.stringify(openModel(source).tokenizer.json)}\n`
  if (flags.out === null) return json
  mkdirSync(flags.out, { recursive: true })
  const path = join(flags.out, 'tokenizer.json')
  writeFileSync(path, json)
  return flags.json ? `${JSON.stringify({ path })}\n` : `${path}\n`
}

function descriptionText(description: ModelDescription): string {
  const { notice, ...fields } = description
  const lines = Object.entries(fields).map(([name, value]) => `${name.padEnd(20)} ${valueText(value)}\n`)
  return lines.join('') + (notice === null ? '' : `\nNOTE: ${notice}\n`)
}

function valueText(value: unknown): string {
  if (typeof value === 'number') return value.toLocaleString('en')
  return value !== null && typeof value === 'object' ? JSON.stringify(value) : String(value)
}
