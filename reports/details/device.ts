import type { BlockMetrics } from '../../src/result/schema.js'
import { cleanLine } from '../clean.js'
import { formatBytes, formatNumber } from '../format.js'
import { type ReportInput, targetViews } from '../input.js'
import type { DetailTable } from './table.js'

type Column = [label: string, cell: (block: BlockMetrics) => number | null]

const GPU: Column[] = [
  ['SM active %', (block) => block.gpmSmMean ?? null],
  ['SM occupancy %', (block) => block.gpmOccupancyMean ?? null],
  ['tensor active %', (block) => block.gpmTensorMean],
  ['DRAM bandwidth %', (block) => block.gpmDramMean],
  ['utilization.gpu %', (block) => block.gpuUtilizationMean],
  ['power W', (block) => block.powerWattsMean],
  ['J per output token', (block) => block.joulesPerOutputToken],
]

export const GPU_NOTE =
  'utilization.gpu is the share of time in which any kernel ran, however small: near 100 in every decode loop, it does not say how full the GPU was. ' +
  'GPM does: SM active, share of SM-cycles with a warp in flight; occupancy, warps of those the SMs could hold; tensor active and DRAM bandwidth, percent of their peak.'

/** Means over each block's window; null when nothing was sampled. */
export function deviceTable(input: ReportInput): DetailTable | null {
  const gpu = (input.run.manifest.telemetry?.gpu ?? null) !== null
  const columns: Column[] = [...(gpu ? GPU : []), ['host CPU %', (block: BlockMetrics) => block.hostCpuMean]]
  const rows = targetViews(input).flatMap(({ info, blocks }) =>
    blocks.flatMap((block) =>
      columns.every(([, cell]) => cell(block) === null)
        ? []
        : [
            [
              `${cleanLine(info.name, 40)}, block ${block.block}`,
              ...columns.map(([, cell]) => formatNumber(cell(block))),
              formatBytes(block.targetRssPeakBytes),
            ],
          ],
    ),
  )
  if (rows.length === 0) return null
  return {
    id: 'device',
    title: gpu ? 'How busy the GPU was' : 'How busy the host was',
    head: ['mean of the window', ...columns.map(([label]) => label), 'target’s memory, peak'],
    rows,
    words: [],
    notes: gpu ? [GPU_NOTE] : ['Host CPU: percent of all cores, client and engine together. There was no GPU to read.'],
  }
}
