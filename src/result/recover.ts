import { join } from 'node:path'
import { readRun } from './read.js'
import { writeAtomically } from './store.js'

export interface Recovery {
  directory: string
  /** 'complete' when there was nothing to do. */
  status: 'complete' | 'partial'
  /** Per block: requests planned, recorded (each in one named outcome), and those still in flight when the writer died. */
  blocks: {
    folder: string
    status: string
    planned: number
    recorded: number
    unrecorded: number
    outcomes: Record<string, number>
  }[]
  damage: string[]
}

/**
 * Makes a run whose writer was killed readable as what it is: blocks and run are marked partial in the manifest, nothing is
 * deleted, and the exact counts of what the journals hold come back. Throws Failure('bad-result' | 'disk').
 */
export function recoverRun(directory: string): Recovery {
  const run = readRun(directory)
  const sound = run.manifest.status === 'complete'
  if (!sound) writeAtomically(join(directory, 'manifest.json'), JSON.stringify(run.manifest, null, 2) + '\n')
  return {
    directory,
    status: sound ? 'complete' : 'partial',
    damage: run.damage,
    blocks: run.blocks.map(({ manifest, records }) => ({
      folder: manifest.folder,
      status: manifest.status,
      planned: run.manifest.planRequests,
      recorded: records.length,
      unrecorded: Math.max(0, run.manifest.planRequests - records.length),
      outcomes: countBy(records.map((record) => record.outcome)),
    })),
  }
}

function countBy(keys: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const key of keys) counts[key] = (counts[key] ?? 0) + 1
  return counts
}
