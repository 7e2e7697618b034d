import type { RunData } from '../src/result/read.js'
import type { BlockMetrics, Comparison, Summary, TargetInfo } from '../src/result/schema.js'

/** What every report is made from: raw records for the pictures, the summary for every figure. */
export interface ReportInput {
  run: RunData
  summary: Summary
}

export type TargetSummary = Summary['targets'][number]

export const THROUGHPUT = 'output tok/s'

/** What stands of one target in the tables. */
export interface TargetView {
  info: TargetInfo
  summary: TargetSummary | null
  blocks: BlockMetrics[]
  /** Throughput against the base target; null for the base itself. */
  throughput: Comparison | null
}

export function targetViews({ run, summary }: ReportInput): TargetView[] {
  return run.manifest.targets.map((info) => ({
    info,
    summary: summary.targets.find((entry) => entry.target === info.name) ?? null,
    blocks: summary.blocks.filter((block) => block.target === info.name),
    throughput: summary.comparisons.find((row) => row.head === info.name && row.metric === THROUGHPUT) ?? null,
  }))
}
