import { join } from 'node:path'
import { withLock } from '../../kernels/lock.js'
import { ModelError } from './errors.js'

const LIMIT_MS = 30 * 60_000

/** Runs `work` while holding directory/.lock, so that two processes never write one cache entry. */
export function withCacheLock<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const lock = join(directory, '.lock')
  const tooLong = () =>
    new ModelError('download_failed', `another process holds ${lock}`, null, 'delete it if no such process runs')
  return withLock(lock, LIMIT_MS, tooLong, work)
}
