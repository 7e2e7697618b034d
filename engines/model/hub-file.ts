import { createHash, type Hash } from 'node:crypto'
import { closeSync, createReadStream, existsSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs'
import { fileDownloadInfo, HUB_URL, HubApiError, type ListFileEntry } from '@huggingface/hub'
import { ModelError } from './errors.js'
import type { ResolveContext } from './resolve-context.js'

const ATTEMPTS = 4
const PROGRESS_BYTES = 64 * 2 ** 20

/**
 * One file of a repository into `target`, through `target`.part: what a cut connection left is kept and resumed by a range request,
 * in this process (up to 4 attempts) or the next. Verified against the hub's hash (SHA-256 of large files, Git's blob hash of small
 * ones). Throws ModelError download_failed, unauthorized, model_not_found, checksum_mismatch.
 */
export async function downloadHubFile(
  repository: string,
  entry: ListFileEntry,
  target: string,
  context: ResolveContext,
): Promise<void> {
  if (existsSync(target) && (await isIntact(target, entry))) return
  const part = `${target}.part`
  for (let attempt = 1; sizeOf(part) < entry.size || entry.size === 0; attempt++) {
    try {
      await append(repository, entry, part, context)
      break
    } catch (cause) {
      if (cause instanceof ModelError || attempt === ATTEMPTS) throw transferError(repository, entry, cause)
      context.progress(`${entry.path}: ${(cause as Error).message}; resuming at ${sizeOf(part)} of ${entry.size} bytes`)
    }
  }
  if (!(await isIntact(part, entry))) {
    rmSync(part, { force: true })
    throw new ModelError(
      'checksum_mismatch',
      `hf:${repository}: ${entry.path} is not what the hub published`,
      entry.path,
      'try again',
    )
  }
  renameSync(part, target)
}

/** Requests the missing bytes and appends them. Throws when the connection is cut or silent. */
async function append(repository: string, entry: ListFileEntry, part: string, context: ResolveContext): Promise<void> {
  const url = await addressOf(repository, entry, context)
  const from = sizeOf(part) > entry.size ? 0 : sizeOf(part)
  const silence = new AbortController()
  let timer = setTimeout(() => silence.abort(new Error('no answer')), context.connectTimeoutMs)
  const headers = { ...authorization(url, context), ...(from > 0 ? { Range: `bytes=${from}-` } : {}) }
  try {
    const response = await fetch(url, { headers, signal: silence.signal })
    if (!response.ok || response.body === null) throw statusError(repository, entry, response.status)
    const resumed = response.status === 206 && from > 0
    const descriptor = openSync(part, resumed ? 'a' : 'w')
    try {
      let written = resumed ? from : 0
      for await (const chunk of response.body) {
        clearTimeout(timer)
        timer = setTimeout(() => silence.abort(new Error('the connection went silent')), context.idleTimeoutMs)
        writeSync(descriptor, chunk)
        written = report(entry, written, chunk.byteLength, context)
        if (written > entry.size) throw new Error(`more than the announced ${entry.size} bytes`)
      }
      if (written < entry.size) throw new Error('the connection was cut')
    } finally {
      closeSync(descriptor)
    }
  } finally {
    clearTimeout(timer)
  }
}

function report(entry: ListFileEntry, written: number, bytes: number, context: ResolveContext): number {
  const now = written + bytes
  if (Math.floor(now / PROGRESS_BYTES) > Math.floor(written / PROGRESS_BYTES)) {
    context.progress(`${entry.path}: ${Math.round(now / 1e6)} of ${Math.round(entry.size / 1e6)} MB`)
  }
  return now
}

/** The library follows the hub's rules for large files; the bytes are read by a plain ranged GET. */
async function addressOf(repository: string, entry: ListFileEntry, context: ResolveContext): Promise<string> {
  const where = context.hubUrl === null ? {} : { hubUrl: context.hubUrl }
  const credentials = context.token === null ? {} : { accessToken: context.token }
  const timed: typeof fetch = (input, init) =>
    fetch(input, { ...init, headers: withoutXet(init?.headers), signal: AbortSignal.timeout(context.connectTimeoutMs) })
  const info = await fileDownloadInfo({ repo: repository, path: entry.path, fetch: timed, ...where, ...credentials })
  if (info === null) throw statusError(repository, entry, 404)
  return info.url
}

/** Asking for the Xet description would answer JSON instead of a redirect to the bytes. */
function withoutXet(headers: RequestInit['headers']): Headers {
  const kept = new Headers(headers)
  kept.set('Accept', '*/*')
  return kept
}

/** The token goes to the hub alone, never to the store it redirects to. */
function authorization(url: string, context: ResolveContext): Record<string, string> {
  const isHub = new URL(url).origin === new URL(context.hubUrl ?? HUB_URL).origin
  return context.token !== null && isHub ? { Authorization: `Bearer ${context.token}` } : {}
}

async function isIntact(path: string, entry: ListFileEntry): Promise<boolean> {
  if (sizeOf(path) !== entry.size) return false
  if (entry.lfs) return (await digest(path, createHash('sha256'))) === entry.lfs.oid
  if (!entry.oid) return true
  return (await digest(path, createHash('sha1').update(`blob ${entry.size}\0`))) === entry.oid
}

async function digest(path: string, hash: Hash): Promise<string> {
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

function sizeOf(path: string): number {
  return existsSync(path) ? statSync(path).size : 0
}

function statusError(repository: string, entry: ListFileEntry, status: number): Error {
  if (status === 401 || status === 403) {
    return new ModelError('unauthorized', `hf:${repository}: ${entry.path}: ${status}`, '--model', 'set HF_TOKEN')
  }
  if (status === 404) return new ModelError('model_not_found', `hf:${repository}: ${entry.path} is gone`, '--model')
  return new Error(`the hub answered ${status}`)
}

function transferError(repository: string, entry: ListFileEntry, cause: unknown): ModelError {
  const known = cause instanceof HubApiError ? statusError(repository, entry, cause.statusCode) : cause
  if (known instanceof ModelError) return known
  return new ModelError(
    'download_failed',
    `hf:${repository}: ${entry.path}: ${(cause as Error).message}`,
    entry.path,
    'run again: it resumes',
    {
      cause,
    },
  )
}
