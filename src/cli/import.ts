import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { Failure } from '../failure.js'
import { readRun } from '../result/read.js'
import type { RequestRecord, TargetInfo } from '../result/schema.js'
import { RunWriter } from '../result/store.js'
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

/** `bench import FILE --into RUN`: the peer becomes a target and a block of the run, and the reports are made again. */
export async function importCommand(file: string, directory: string): Promise<void> {
  const peer = readPeer(file)
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
  await reportCommand([directory], { format: 'html' })
  process.stderr.write(`imported ${peer.records.length} requests of ${peer.target.name} into ${directory}\n`)
}

function readPeer(file: string): z.infer<typeof PeerFile> {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw new Failure('bad-file', `${file}: ${(cause as Error).message}`, 'give a JSON file that a peer script wrote', {
      cause,
    })
  }
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
