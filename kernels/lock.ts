import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 200

/**
 * Runs `work` while holding the folder `lock` (its parent exists), so that two processes never do it at once. A dead holder's lock is taken
 * over; a living one is awaited up to `limitMs`, then `tooLong` is thrown.
 */
export async function withLock<T>(
  lock: string,
  limitMs: number,
  tooLong: () => Error,
  work: () => Promise<T>,
): Promise<T> {
  const deadline = performance.now() + limitMs
  while (!take(lock)) {
    if (performance.now() > deadline) throw tooLong()
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
