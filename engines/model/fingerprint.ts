import { createHash } from 'node:crypto'
import { closeSync, openSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'

const CHUNK_BYTES = 1 << 20
/** Smaller files are hashed in no time. */
const CACHED_FROM_BYTES = 16 << 20

/**
 * SHA-256 of a weight file, hex; of several: of the lines "hash  name". The hash of each file is kept beside it
 * (<file>.sha256.json, valid while size and modification time are the same), when it is large and the directory may be written.
 */
export function fingerprint(files: readonly string[]): string {
  if (files.length === 1) return cachedHash(files[0]!)
  const lines = files.map((file) => `${cachedHash(file)}  ${basename(file)}\n`)
  return createHash('sha256').update(lines.join('')).digest('hex')
}

/** SHA-256 of a file, read in pieces of 1 MiB. */
export function hashFile(path: string): string {
  const hash = createHash('sha256')
  const chunk = new Uint8Array(CHUNK_BYTES)
  const descriptor = openSync(path, 'r')
  try {
    for (let count = readSync(descriptor, chunk); count > 0; count = readSync(descriptor, chunk)) {
      hash.update(chunk.subarray(0, count))
    }
  } finally {
    closeSync(descriptor)
  }
  return hash.digest('hex')
}

function cachedHash(path: string): string {
  const { size, mtimeMs } = statSync(path)
  if (size < CACHED_FROM_BYTES) return hashFile(path)
  const known = readRecord(`${path}.sha256.json`)
  if (known !== null && known.size === size && known.mtimeMs === mtimeMs) return known.sha256
  const sha256 = hashFile(path)
  try {
    writeFileSync(`${path}.sha256.json`, `${JSON.stringify({ size, mtimeMs, sha256 })}\n`)
  } catch {
    // A read-only directory: the hash is computed again next time.
  }
  return sha256
}

function readRecord(path: string): { size: number; mtimeMs: number; sha256: string } | null {
  try {
    const record = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
    const { size, mtimeMs, sha256 } = record
    const sound = typeof size === 'number' && typeof mtimeMs === 'number' && /^[0-9a-f]{64}$/.test(String(sha256))
    return sound ? { size, mtimeMs, sha256: String(sha256) } : null
  } catch {
    return null
  }
}
