import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { KernelBuildError } from './toolchain.js'

const POLL_MS = 200
const LIMIT_MS = 20 * 60_000

/** Runs `work` while holding `folder`/lock, so that two processes never build at once. A dead holder's lock is taken over. */
export async function withBuildLock<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const lock = join(folder, 'lock')
  const deadline = performance.now() + LIMIT_MS
  while (!take(lock)) {
    if (performance.now() > deadline) {
      throw new KernelBuildError(
        'build-locked',
        `another process has been building the kernels for 20 minutes; if none is, delete ${lock}`,
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
    writeFileSync(join(lock, 'pid'), String(process.pid))
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    const holder = holderOf(lock)
    if (holder !== null && !isAlive(holder)) rmSync(lock, { recursive: true, force: true })
    return false
  }
}

/** The holder's process id; null while it is being written. */
function holderOf(lock: string): number | null {
  try {
    const pid = Number(readFileSync(join(lock, 'pid'), 'utf8'))
    return Number.isInteger(pid) && pid > 0 ? pid : null
  } catch {
    return null
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
