import { join } from 'node:path'
import { withLock } from './lock.js'
import { KernelBuildError } from './toolchain.js'

const LIMIT_MS = 20 * 60_000

/** Runs `work` while holding `folder`/lock, so that two processes never build at once. */
export function withBuildLock<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const lock = join(folder, 'lock')
  const tooLong = () =>
    new KernelBuildError(
      'build-locked',
      `another process has been building the kernels for 20 minutes; if none is, delete ${lock}`,
    )
  return withLock(lock, LIMIT_MS, tooLong, work)
}
