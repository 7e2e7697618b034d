import { closeSync, constants, fsync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { Failure } from '../failure.js'

/** Lines written before the next fsync, at most. A killed process loses none of them; a power cut loses at most these. */
const LINES_PER_SYNC = 64

/**
 * An append-only file of JSON lines. A line is in the kernel when append() returns, so SIGKILL loses nothing that was appended;
 * fsync runs in batches, off the calling thread. A failed write (disk full, quota, file-size limit, I/O error) throws
 * Failure('disk'), leaves only whole lines behind, and every later append throws it again.
 */
export class Journal {
  private readonly fd: number
  private bytes = 0
  private unsynced = 0
  private syncing = false
  private broken: Failure | null = null
  private closed = false

  /** Creates the file: mode 0600, and never through a symbolic link or over an existing file. */
  constructor(readonly path: string) {
    this.fd = guardDisk(path, () => openSync(path, CREATE_APPEND, 0o600))
  }

  append(value: unknown): void {
    if (this.broken !== null) throw this.broken
    const line = Buffer.from(JSON.stringify(value) + '\n')
    try {
      for (let written = 0; written < line.length; ) written += writeSync(this.fd, line, written)
    } catch (cause) {
      this.broken = diskFailure(this.path, cause)
      cutTo(this.fd, this.bytes)
      throw this.broken
    }
    this.bytes += line.length
    this.unsynced++
    if (this.unsynced >= LINES_PER_SYNC) this.syncSoon()
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    try {
      guardDisk(this.path, () => fsyncSync(this.fd))
    } finally {
      if (!this.syncing) closeSync(this.fd)
    }
  }

  private syncSoon(): void {
    if (this.syncing) return
    this.syncing = true
    this.unsynced = 0
    fsync(this.fd, (error) => {
      this.syncing = false
      if (error !== null && this.broken === null) this.broken = diskFailure(this.path, error)
      if (this.closed) closeSync(this.fd)
    })
  }
}

const CREATE_APPEND =
  constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_APPEND | constants.O_NOFOLLOW

/** Runs a file operation; an operating-system error becomes Failure('disk') that names the path. */
export function guardDisk<T>(path: string, operation: () => T): T {
  try {
    return operation()
  } catch (cause) {
    throw diskFailure(path, cause)
  }
}

const FIXES: Record<string, string> = {
  ENOSPC: 'free some space, or write elsewhere with --out; what was written so far is kept',
  EDQUOT: 'the disk quota is used up: free some space, or write elsewhere with --out; what was written so far is kept',
  EFBIG: 'the file-size limit (ulimit -f) is reached: raise it; what was written so far is kept',
  EROFS: 'the file system is read-only: write elsewhere with --out',
  EACCES: 'no permission to write there: write elsewhere with --out',
  EEXIST: 'results are never overwritten: choose another folder with --out',
  ELOOP: 'the path is a symbolic link; results are not written through links',
}

function diskFailure(path: string, cause: unknown): Failure {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
  return new Failure('disk', `cannot write ${path}: ${code}`, FIXES[code] ?? null, { cause })
}

/** Drops the torn tail of a failed write; a file system too broken for that leaves it to the reader, which skips it. */
function cutTo(fd: number, bytes: number): void {
  try {
    ftruncateSync(fd, bytes)
  } catch {
    return
  }
}
