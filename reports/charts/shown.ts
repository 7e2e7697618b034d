import type { BlockData } from '../../src/result/read.js'
import type { BlockMetrics, TargetInfo } from '../../src/result/schema.js'
import { cleanLine } from '../clean.js'
import type { ReportInput } from '../input.js'
import { type LegendEntry, targetHue } from './chart.js'

/** The one block of a target whose course is drawn: its first complete one (every block is in the raw data). */
export interface ShownBlock {
  /** 't0' for the first target: names in data and colours. */
  series: string
  index: number
  name: string
  info: TargetInfo
  data: BlockData
  metrics: BlockMetrics | null
  /** Zero of the time axis: the start of the measured phase. */
  zeroNs: number
  durationSecs: number
}

export function shownBlocks({ run, summary }: ReportInput): ShownBlock[] {
  return run.manifest.targets.flatMap((info, index) => {
    const own = run.blocks.filter((block) => block.manifest.target === info.name && block.records.length > 0)
    const data = own.find((block) => block.manifest.status === 'complete') ?? own[0]
    if (data === undefined) return []
    const zeroNs = data.manifest.measureStartNs ?? data.manifest.startNs
    return [
      {
        series: `t${index}`,
        index,
        name: cleanLine(info.name, 40),
        info,
        data,
        metrics: summary.blocks.find((block) => block.block === data.manifest.index) ?? null,
        zeroNs,
        durationSecs: Math.max(0.1, (lastEventNs(data) - zeroNs) / 1e9),
      },
    ]
  })
}

/** Legend of the targets; each entry shows and hides its own. */
export function targetLegend(input: ReportInput): LegendEntry[] {
  return input.run.manifest.targets.map((target, index) => ({
    label: cleanLine(target.name, 40),
    color: targetHue(index),
    series: `t${index}`,
  }))
}

function lastEventNs(data: BlockData): number {
  let last = data.manifest.measureStartNs ?? data.manifest.startNs
  for (const record of data.records) last = Math.max(last, record.doneNs ?? record.lastTokenNs ?? 0)
  return last
}
