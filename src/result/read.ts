import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { Failure } from '../failure.js'
import { readJsonLines } from './lines.js'
import {
  type BlockManifest,
  OUTCOMES,
  type PlanRow,
  RESULT_SCHEMA,
  type RequestRecord,
  type RunManifest,
  type Summary,
  type TelemetrySample,
  type WorkerHealth,
} from './schema.js'
import type { ServerScrape } from './server-view.js'
import type { StepTraceRecord } from './trace.js'

export interface BlockData {
  manifest: BlockManifest
  records: RequestRecord[]
  steps: StepTraceRecord[]
  telemetry: TelemetrySample[]
  health: WorkerHealth[]
  /** Readings of an external server's own /metrics; absent: none were stored. */
  scrapes?: ServerScrape[]
}

/** A stored run, whole: what every derived number is computed from. */
export interface RunData {
  directory: string
  manifest: RunManifest
  plan: PlanRow[]
  blocks: BlockData[]
  /** What could not be read, one line each; empty for a sound run. */
  damage: string[]
}

/**
 * Reads a run's folder. A run whose writer was killed reads as 'partial' with every request that had finished; torn or damaged
 * lines are counted in `damage`. Throws Failure('bad-result') when there is no manifest, or one of another schema version.
 */
export function readRun(directory: string): RunData {
  const manifest = readManifest(directory)
  const damage: string[] = []
  const plan = noted(damage, 'plan.jsonl', readJsonLines(join(directory, 'plan.jsonl'), isPlanRow))
  const blocks = manifest.blocks.map((block) => readBlock(directory, block, damage))
  const finished = manifest.status !== 'running'
  return {
    directory,
    manifest: {
      ...manifest,
      status: finished ? manifest.status : 'partial',
      blocks: blocks.map((block) => block.manifest),
    },
    plan,
    blocks,
    damage,
  }
}

/** The summary stored with a run, or null. It is derived: `summarize(readRun(...))` gives it again. */
export function readSummary(directory: string): Summary | null {
  const text = readText(join(directory, 'summary.json'))
  if (text === null) return null
  const summary = parseJson(text, 'summary.json') as Summary
  if (summary.schema !== 'pagedbench/summary@1')
    throw new Failure(
      'bad-result',
      `summary.json has schema ${JSON.stringify(summary.schema)}`,
      'run bench report to compute it again',
    )
  return summary
}

function readManifest(directory: string): RunManifest {
  const text = readText(join(directory, 'manifest.json'))
  if (text === null)
    throw new Failure('bad-result', `${directory} holds no manifest.json`, 'give the folder of a run: results/<id>')
  const value = parseJson(text, 'manifest.json')
  const schema = (value as { schema?: unknown } | null)?.schema
  if (schema !== RESULT_SCHEMA)
    throw new Failure(
      'bad-result',
      `${directory}/manifest.json has schema ${JSON.stringify(schema)}; this bench reads ${RESULT_SCHEMA}`,
      'read it with the version of bench that wrote it (manifest: environment.benchVersion)',
    )
  const parsed = manifestShape.safeParse(value)
  if (!parsed.success)
    throw new Failure('bad-result', `${directory}/manifest.json: ${z.prettifyError(parsed.error)}`, null, {
      cause: parsed.error,
    })
  return value as RunManifest
}

/** What the readers rely on; the rest of the manifest is shown, not computed with. Folder names cannot leave the run's folder. */
const manifestShape = z.looseObject({
  id: z.string(),
  status: z.enum(['running', 'complete', 'partial']),
  planRequests: z.number(),
  environment: z.looseObject({ cpu: z.string(), cores: z.number() }),
  targets: z.array(z.looseObject({ name: z.string(), options: z.looseObject({}) })),
  blocks: z.array(
    z.looseObject({
      index: z.number(),
      target: z.string(),
      folder: z
        .string()
        .regex(/^[A-Za-z0-9._-]+$/)
        .refine((name) => !/^\.+$/.test(name)),
      status: z.enum(['running', 'complete', 'partial', 'failed']),
    }),
  ),
  notices: z.array(z.string()),
})

function readBlock(directory: string, block: BlockManifest, damage: string[]): BlockData {
  const folder = join(directory, 'blocks', block.folder)
  const lines = <T>(name: string, accept: (value: unknown) => value is T): T[] =>
    noted(damage, `${block.folder}/${name}`, readJsonLines(join(folder, name), accept))
  const killed = block.status === 'running'
  return {
    manifest: killed
      ? { ...block, status: 'partial', reason: block.reason ?? 'the run ended before this block did' }
      : block,
    records: lines('requests.jsonl', isRequestRecord),
    steps: lines('steps.jsonl', isStepTrace),
    telemetry: lines('telemetry.jsonl', isTelemetrySample),
    health: readHealth(join(folder, 'client.json')),
    scrapes: lines('server-metrics.jsonl', isServerScrape),
  }
}

function readHealth(path: string): WorkerHealth[] {
  const text = readText(path)
  return text === null ? [] : (parseJson(text, path) as WorkerHealth[])
}

function noted<T>(damage: string[], name: string, lines: { rows: T[]; torn: boolean; damaged: number }): T[] {
  if (lines.torn)
    damage.push(
      `${name}: the last line is torn (its writer was killed); the ${lines.rows.length} lines before it are whole`,
    )
  if (lines.damaged > 0) damage.push(`${name}: ${lines.damaged} damaged lines skipped`)
  return lines.rows
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isPlanRow = (value: unknown): value is PlanRow => isObject(value) && typeof value['index'] === 'number'

const isRequestRecord = (value: unknown): value is RequestRecord =>
  isObject(value) &&
  typeof value['index'] === 'number' &&
  typeof value['outcome'] === 'string' &&
  Object.hasOwn(OUTCOMES, value['outcome']) &&
  Array.isArray(value['readNs']) &&
  Array.isArray(value['readTokens'])

const isStepTrace = (value: unknown): value is StepTraceRecord =>
  isObject(value) && typeof value['kind'] === 'string' && ['step', 'request', 'batch', 'gc'].includes(value['kind'])

const isTelemetrySample = (value: unknown): value is TelemetrySample =>
  isObject(value) && typeof value['tNs'] === 'number'

const isServerScrape = (value: unknown): value is ServerScrape =>
  isObject(value) &&
  (value['when'] === 'before' || value['when'] === 'after') &&
  typeof value['url'] === 'string' &&
  (typeof value['text'] === 'string' || value['text'] === null)

/** A small text file, or null when absent. Links are not followed: a result folder may come from someone else. */
function readText(path: string): string | null {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw new Failure('bad-result', `cannot read ${path}: ${code}`, null, { cause })
  }
  try {
    if (!fstatSync(fd).isFile()) throw new Failure('bad-result', `${path} is not a file`)
    return readFileSync(fd, 'utf8')
  } finally {
    closeSync(fd)
  }
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Failure('bad-result', `${name} is not valid JSON: ${(cause as Error).message}`, null, { cause })
  }
}
