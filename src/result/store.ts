import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { guardDisk, Journal } from './journal.js'
import type {
  BlockManifest,
  PlanRow,
  RequestRecord,
  RunManifest,
  Summary,
  TelemetrySample,
  WorkerHealth,
} from './schema.js'
import type { StepTraceRecord } from './trace.js'

/**
 * Starts a run's folder `<directory>` (created; it must not exist) and writes its manifest. Everything is mode 0600/0700 and
 * nothing is written through a symbolic link. Throws Failure('disk').
 */
export function createRun(directory: string, manifest: RunManifest): RunWriter {
  guardDisk(directory, () => {
    makeParents(dirname(directory))
    mkdirSync(directory, { mode: 0o700 })
    mkdirSync(join(directory, 'blocks'), { mode: 0o700 })
  })
  const writer = new RunWriter(directory, manifest)
  writer.updateManifest({})
  return writer
}

/** Not mkdir's recursive option: it spins for ever on /proc (Node 20). */
function makeParents(path: string): void {
  if (existsSync(path)) return
  makeParents(dirname(path))
  mkdirSync(path, { mode: 0o755 })
}

/** The open folder of a run. Every method throws Failure('disk') when the disk refuses; what was written before stays. */
export class RunWriter {
  constructor(
    readonly directory: string,
    public manifest: RunManifest,
  ) {}

  writePlan(rows: Iterable<PlanRow>): void {
    const plan = new Journal(join(this.directory, 'plan.jsonl'))
    try {
      for (const row of rows) plan.append(row)
    } finally {
      plan.close()
    }
  }

  /** Rewrites manifest.json atomically: a reader sees the old one or the new one, never a part. */
  updateManifest(change: Partial<RunManifest>): void {
    this.manifest = { ...this.manifest, ...change }
    writeAtomically(join(this.directory, 'manifest.json'), JSON.stringify(this.manifest, null, 2) + '\n')
  }

  /** One block: one target driven once with the whole plan. The folder's name is made here. */
  openBlock(block: Pick<BlockManifest, 'index' | 'target' | 'repeat' | 'startNs'>): BlockWriter {
    const folder = `${block.index}-${block.target.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, 60)}`
    const path = join(this.directory, 'blocks', folder)
    guardDisk(path, () => mkdirSync(path, { mode: 0o700 }))
    const manifest: BlockManifest = {
      ...block,
      folder,
      endNs: null,
      measureStartNs: null,
      status: 'running',
      reason: null,
    }
    this.updateManifest({ blocks: [...this.manifest.blocks, manifest] })
    return new BlockWriter(this, path, manifest)
  }

  writeSummary(summary: Summary): void {
    this.writeText('summary.json', JSON.stringify(summary, null, 2) + '\n')
  }

  /** 'report.html', 'report.md', ...: replaced atomically. Returns the path. */
  writeText(name: string, text: string): string {
    const path = join(this.directory, name)
    writeAtomically(path, text)
    return path
  }

  /** Ends the run: 'complete' only when every block is. */
  finish(): RunManifest {
    const complete = this.manifest.blocks.every((block) => block.status === 'complete')
    this.updateManifest({ status: complete ? 'complete' : 'partial' })
    return this.manifest
  }
}

/** The open folder of a block: its journals. The engine itself writes the step trace to `stepTracePath`. */
export class BlockWriter {
  readonly stepTracePath: string
  private readonly requests: Journal
  private readonly telemetry: Journal

  constructor(
    private readonly run: RunWriter,
    readonly path: string,
    private block: BlockManifest,
  ) {
    this.stepTracePath = join(path, 'steps.jsonl')
    this.requests = new Journal(join(path, 'requests.jsonl'))
    this.telemetry = new Journal(join(path, 'telemetry.jsonl'))
  }

  get manifest(): BlockManifest {
    return this.block
  }

  /** Journals one finished request; it survives SIGKILL from here on. */
  writeRecord(record: RequestRecord): void {
    this.requests.append(record)
  }

  writeTelemetry(sample: TelemetrySample): void {
    this.telemetry.append(sample)
  }

  writeHealth(health: readonly WorkerHealth[]): void {
    writeAtomically(join(this.path, 'client.json'), JSON.stringify(health) + '\n')
  }

  /** For a trace that did not come from an engine of ours (an import); an engine writes the file itself. */
  writeSteps(steps: Iterable<StepTraceRecord>): void {
    const journal = new Journal(this.stepTracePath)
    try {
      for (const step of steps) journal.append(step)
    } finally {
      journal.close()
    }
  }

  end(
    status: 'complete' | 'partial' | 'failed',
    times: Pick<BlockManifest, 'endNs' | 'measureStartNs'>,
    reason: string | null,
    found: Pick<BlockManifest, 'engineIntegrity' | 'cacheCheck' | 'stoppedEarly'> = {},
  ): void {
    this.requests.close()
    this.telemetry.close()
    this.block = { ...this.block, ...times, status, reason, ...found }
    this.run.updateManifest({
      blocks: this.run.manifest.blocks.map((other) => (other.folder === this.block.folder ? this.block : other)),
    })
  }
}

/** Temporary file beside the target, fsync, rename, fsync of the folder. Throws Failure('disk') and leaves the old file. */
export function writeAtomically(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.tmp`
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
  guardDisk(path, () => {
    removeIfPresent(temporary)
    const fd = openSync(temporary, flags, 0o600)
    try {
      const bytes = Buffer.from(text)
      for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written)
      fsyncSync(fd)
    } catch (cause) {
      removeIfPresent(temporary)
      throw cause
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, path)
    syncFolder(dirname(path))
  })
}

function removeIfPresent(path: string): void {
  try {
    unlinkSync(path)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause
  }
}

function syncFolder(path: string): void {
  const fd = openSync(path, constants.O_RDONLY)
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
