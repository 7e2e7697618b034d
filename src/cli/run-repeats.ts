import { readRun } from '../result/read.js'
import { summarize } from '../result/summarize.js'
import type { Scenario } from '../scenario/types.js'
import { decideRepeats } from '../statistics/repeats.js'
import type { TargetSpec } from '../target.js'
import { type BlockInput, blockOrder, driveBlock, type PlannedBlock } from './run-block.js'

/**
 * Every target driven once a repeat, in ABBA order: as often as asked, or with repeats.until (at least `min`) until the 95 % interval of the
 * headline metric's block means is narrow enough on every target. Why it ended stands in the manifest.
 */
export async function driveRepeats(
  input: Omit<BlockInput, keyof PlannedBlock>,
  targets: readonly TargetSpec[],
): Promise<void> {
  const { run, scenario, progress, signal } = input
  const { repeats } = scenario
  const order = blockOrder(targets, repeats.max)
  for (let repeat = 0; repeat < repeats.max; repeat++) {
    for (const block of order.filter((one) => one.repeat === repeat)) {
      if (signal.aborted) return
      await driveBlock({ ...input, ...block })
    }
    if (repeats.untilCi95 === null || signal.aborted) continue
    const done = repeat + 1
    const { stop, why } = decideRepeats(repeats, done, headlineMetric(scenario), blockMeans(run.directory, scenario))
    progress.phase(`repeat ${done} of at most ${repeats.max}: ${why}`)
    run.updateManifest({ repeats: { done, atMost: repeats.max, why } })
    if (!stop) continue
    run.updateManifest({ notices: [...run.manifest.notices, `${done} of at most ${repeats.max} repeats: ${why}`] })
    return
  }
}

/** In open loop the throughput is what was asked; there the headline is how long a request waits from its due time. */
function headlineMetric(scenario: Scenario): string {
  return scenario.load.arrival.kind === 'closed' ? 'output tok/s' : 'TTFT p50 from due time'
}

/** The headline metric of each complete block so far, by target. */
function blockMeans(directory: string, scenario: Scenario): { target: string; values: number[] }[] {
  const data = readRun(directory)
  const complete = new Set(
    data.blocks.flatMap(({ manifest }) => (manifest.status === 'complete' ? [manifest.index] : [])),
  )
  const closed = scenario.load.arrival.kind === 'closed'
  const { blocks } = summarize(data)
  return data.manifest.targets.map(({ name }) => ({
    target: name,
    values: blocks
      .filter((block) => block.target === name && complete.has(block.block))
      .map((block) => (closed ? block.outputTokensPerSecond : block.ttftIntendedMs.p50))
      .filter((value): value is number => value !== null),
  }))
}
