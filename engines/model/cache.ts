import { homedir } from 'node:os'
import { join } from 'node:path'

/** BENCH_CACHE, else pagedbench in the user's cache directory (XDG_CACHE_HOME, ~/.cache). */
export function cacheDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  const { BENCH_CACHE, XDG_CACHE_HOME } = environment
  return BENCH_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'pagedbench')
}
