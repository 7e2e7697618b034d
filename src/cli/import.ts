import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import { z } from 'zod'
import { Failure } from '../failure.js'
import { checkFigures } from '../metrics/foreign/check.js'
import { type ForeignResult, fromEvents } from '../metrics/foreign/result.js'
import { parseJson } from '../metrics/foreign/shape.js'
import { readRun } from '../result/read.js'
import type { ImportedResult, RequestRecord, TargetInfo } from '../result/schema.js'
import { RunWriter } from '../result/store.js'
import { describe } from './compat.js'
import { readForeignFile, readText } from './foreign-file.js'
import { reportCommand } from './report.js'

/** What test/peers/*.py write: one target driven once with an exported plan. */
const PeerFile = z.object({
  schema: z.literal('pagedbench/peer@1'),
  target: z.looseObject({ name: z.string().min(1), engine: z.string() }),
  startNs: z.number(),
  endNs: z.number(),
  measureStartNs: z.number(),
  records: z
    .array(
      z.looseObject({ index: z.number(), outcome: z.string(), outputTokens: z.number(), readNs: z.array(z.number()) }),
    )
    .min(1),
})

/**
 * `bench import FILE --into RUN`. A peer's file becomes a target and a block of the run; a result of vllm bench serve, guidellm or aiperf
 * stands in the report as its file tells it, never compared, as it ran another plan. The reports are made again.
 * Throws Failure('usage' | 'bad-file' | 'bad-result' | 'incomparable' | 'disk').
 */
export async function importCommand(file: string, directory: string): Promise<void> {
  const text = readText(file)
  if (/"schema"\s*:\s*"pagedbench\/peer/.test(text.slice(0, 4096))) importPeer(parseJson(text, file), file, directory)
  else importForeign(readForeignFile(file), text, file, directory)
  await reportCommand([directory], { format: 'html' })
}

function importForeign(results: readonly ForeignResult[], text: string, file: string, directory: string): void {
  const { manifest } = readRun(directory)
  const sha256 = createHash('sha256').update(text).digest('hex')
  const present = manifest.imported ?? []
  if (present.some((one) => one.sha256 === sha256))
    throw new Failure(
      'usage',
      `${directory} already holds ${basename(file)}`,
      'nothing is to be done: open its report.html',
    )
  const added = results.map((result, index) => imported(result, { file: basename(file), index, sha256 }))
  new RunWriter(directory, manifest).updateManifest({
    imported: [...present, ...added],
    notices: [
      ...manifest.notices,
      ...added.map(
        (one) => `${one.file} was imported: ${describe(one)}; another plan and client, so it is not compared`,
      ),
    ],
  })
  for (const one of added) process.stderr.write(`imported ${describe(one)} into ${directory}\n`)
}

function imported(
  { events, column, ...result }: ForeignResult,
  from: Pick<ImportedResult, 'file' | 'index' | 'sha256'>,
): ImportedResult {
  const own = fromEvents({ events, column, ...result })
  const figures = own === null ? [] : checkFigures(column, own)
  return {
    ...from,
    ...result,
    column,
    largestDifference: own === null ? null : figures.reduce((most, one) => Math.max(most, Math.abs(one.relative)), 0),
    disagreeing: figures.filter((one) => !one.withinRounding).map((one) => one.name),
  }
}

function importPeer(value: unknown, file: string, directory: string): void {
  const peer = readPeer(value, file)
  const run = readRun(directory)
  if (run.manifest.targets.some((target) => target.name === peer.target.name))
    throw new Failure(
      'usage',
      `${directory} already has a target ${peer.target.name}`,
      'import it into another run, or rename it in the file',
    )
  checkPlan(peer.records, new Map(run.plan.map((row) => [row.index, row.outputTokens])), file)
  const writer = new RunWriter(directory, run.manifest)
  writer.updateManifest({
    targets: [...run.manifest.targets, peer.target as unknown as TargetInfo],
    notices: [
      ...run.manifest.notices,
      `${peer.target.name} was imported from ${file}: measured in its own process, not through HTTP`,
    ],
  })
  const block = writer.openBlock({
    index: run.manifest.blocks.length,
    target: peer.target.name,
    repeat: 0,
    startNs: peer.startNs,
  })
  for (const record of peer.records) block.writeRecord(record as unknown as RequestRecord)
  block.writeHealth([])
  block.end('complete', { endNs: peer.endNs, measureStartNs: peer.measureStartNs }, null)
  process.stderr.write(`imported ${peer.records.length} requests of ${peer.target.name} into ${directory}\n`)
}

function readPeer(value: unknown, file: string): z.infer<typeof PeerFile> {
  const parsed = PeerFile.safeParse(value)
  if (!parsed.success)
    throw new Failure('bad-file', `${file}: ${z.prettifyError(parsed.error)}`, 'is it the output of test/peers/*.py?')
  return parsed.data
}

/** The peer must have run this plan: every request of it is planned here, with the same output length. */
function checkPlan(
  records: readonly { index: number; outputTokens: number }[],
  planned: ReadonlyMap<number, number>,
  file: string,
): void {
  const foreign = records.filter((record) => planned.get(record.index) !== record.outputTokens)
  if (foreign.length > 0)
    throw new Failure(
      'incomparable',
      `${file}: ${foreign.length} of ${records.length} requests are not of this run's plan (first: index ${foreign[0]!.index})`,
      'export the plan of this run with --export-plan and run the peer on that',
    )
}
