import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { HubApiError, type ListFileEntry, listFiles } from '@huggingface/hub'
import { withCacheLock } from './cache-lock.js'
import { ModelError } from './errors.js'
import { downloadHubFile } from './hub-file.js'
import type { ResolveContext } from './resolve-context.js'

/** Everything but weights that a model may need. */
const SIDE_FILES = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'chat_template.json',
  'model.safetensors.index.json',
]

const COMPLETE = '.complete.json'

/**
 * A repository of the Hugging Face hub (org/name), or one GGUF file of it (org/name/path.gguf), in the cache. Files are resumed where
 * they were cut and verified against the hub's hash. Returns the directory or the .gguf file.
 * Throws ModelError model_not_found, unauthorized, download_failed, checksum_mismatch.
 */
export async function fetchFromHub(name: string, context: ResolveContext): Promise<string> {
  const cached = cachedFromHub(name, context)
  if (cached !== null) return cached
  const { repository, file, directory } = locate(name, context)
  if (context.offline)
    throw new ModelError('download_failed', `hf:${name} is not in the cache and HF_HUB_OFFLINE is set`)
  const wanted = choose(await list(repository, context), file, name)
  mkdirSync(directory, { recursive: true })
  return withCacheLock(directory, async () => {
    for (const entry of wanted) {
      mkdirSync(dirname(join(directory, entry.path)), { recursive: true })
      await downloadHubFile(repository, entry, join(directory, entry.path), context)
    }
    const files = wanted.map(({ path, size }) => ({ path, size }))
    const gguf = wanted.find(({ path }) => path.endsWith('.gguf'))?.path ?? null
    writeFileSync(join(directory, completeName(file)), JSON.stringify({ files, gguf }))
    return gguf === null ? directory : join(directory, gguf)
  })
}

/** The same from the cache alone; null when it is not complete. */
export function cachedFromHub(name: string, context: ResolveContext): string | null {
  const { file, directory } = locate(name, context)
  const record = readComplete(join(directory, completeName(file)))
  const whole = record?.files.every(({ path, size }) => {
    const full = join(directory, path)
    return existsSync(full) && statSync(full).size === size
  })
  if (!record || !whole) return null
  return record.gguf === null ? directory : join(directory, record.gguf)
}

function locate(name: string, context: ResolveContext) {
  const [organisation = '', model = '', ...rest] = name.split('/')
  const file = rest.length === 0 ? null : rest.join('/')
  const word = /^[\w][\w.-]*$/
  const sound = word.test(organisation) && word.test(model) && rest.every((part) => word.test(part))
  if (!sound || (file !== null && !file.endsWith('.gguf'))) {
    throw new ModelError('model_not_found', `hf:${name} is not hf:org/name or hf:org/name/file.gguf`, '--model')
  }
  const directory = join(context.cacheDirectory, 'hf', `${organisation}--${model}`)
  return { repository: `${organisation}/${model}`, file, directory }
}

/** The marker of a whole repository, or of one file of it. */
function completeName(file: string | null): string {
  return file === null ? COMPLETE : `.${file.replaceAll('/', '--')}${COMPLETE}`
}

function readComplete(path: string): { files: { path: string; size: number }[]; gguf: string | null } | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return null
  }
}

async function list(repository: string, context: ResolveContext): Promise<ListFileEntry[]> {
  const entries: ListFileEntry[] = []
  try {
    const params = { repo: repository, recursive: true, fetch: timedFetch(context.connectTimeoutMs) }
    const where = context.hubUrl === null ? {} : { hubUrl: context.hubUrl }
    const credentials = context.token === null ? {} : { accessToken: context.token }
    for await (const entry of listFiles({ ...params, ...where, ...credentials })) {
      if (entry.type === 'file') entries.push(entry)
    }
    return entries
  } catch (cause) {
    throw listingError(repository, cause)
  }
}

function timedFetch(timeoutMs: number): typeof fetch {
  return (input, init) => fetch(input, { ...init, signal: AbortSignal.timeout(timeoutMs) })
}

function listingError(repository: string, cause: unknown): ModelError {
  const status = cause instanceof HubApiError ? cause.statusCode : null
  if (status === 401 || status === 403) {
    const fix = 'accept its terms on the hub and set HF_TOKEN (the hub answers so for unknown names, too)'
    return new ModelError('unauthorized', `hf:${repository}: the hub answered ${status}`, '--model', fix, { cause })
  }
  if (status === 404)
    return new ModelError('model_not_found', `hf:${repository} does not exist`, '--model', '', { cause })
  const reason = (cause as Error & { cause?: Error }).cause?.message ?? (cause as Error).message
  return new ModelError('download_failed', `hf:${repository}: ${reason}`, null, 'HF_ENDPOINT names a mirror', { cause })
}

/** The asked file, or the safetensors checkpoint of the top directory, or its only GGUF file. */
function choose(entries: readonly ListFileEntry[], file: string | null, name: string): ListFileEntry[] {
  if (file !== null) {
    const entry = entries.find(({ path }) => path === file)
    if (entry !== undefined) return [entry]
    throw new ModelError('model_not_found', `hf:${name}: no such file in the repository`, '--model')
  }
  const top = entries.filter(({ path }) => !path.includes('/'))
  const weights = top.filter(({ path }) => /^model(-\d+-of-\d+)?\.safetensors$/.test(path))
  if (weights.length > 0) return [...top.filter(({ path }) => SIDE_FILES.includes(path)), ...weights]
  const ggufs = top.filter(({ path }) => path.endsWith('.gguf'))
  if (ggufs.length === 1) return ggufs
  throw new ModelError(
    'model_not_found',
    `hf:${name} has no model.safetensors${ggufs.length ? ` and ${ggufs.length} GGUF files` : ' and no GGUF file'}`,
    '--model',
    ggufs.length ? `name one: hf:${name}/${ggufs[0]!.path}` : 'pickle checkpoints (.bin, .pt) are not read',
  )
}
