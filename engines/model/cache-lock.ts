import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ModelError } from './errors.js'

const POLL_MS = 200
const LIMIT_MS = 30 * 60_000

/** Runs `work` while holding directory/.lock, so that two processes never write one cache entry. A dead holder's lock is taken over. */
export async function withCacheLock<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const lock = join(directory, '.lock')
  const deadline = performance.now() + LIMIT_MS
  while (!take(lock)) {
    if (performance.now() > deadline) {
      throw new ModelError(
        'download_failed',
        `another process holds ${lock}`,
        null,
        'delete it if no such process runs',
      )
    }
    await sleep(POLL_MS)
  }
  try {
    return await work()
  } finally {
    rmSync(lock, { recursive: true, force: true })
  }
}

function take(lock: string): boolean {
  try {
    mkdirSync(lock) // atomic: fails when it exists
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    if (isDead(lock)) rmSync(lock, { recursive: true, force: true })
    return false
  }
  writeFileSync(join(lock, 'pid'), String(process.pid))
  return true
}

/** Its process is gone. While the holder still writes its number, it counts as alive. */
function isDead(lock: string): boolean {
  try {
    const pid = Number(readFileSync(join(lock, 'pid'), 'utf8'))
    if (!Number.isSafeInteger(pid) || pid <= 0) return false
    process.kill(pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}
