import type { BlockMetrics } from '../../src/result/schema.js'
import { cleanLine } from '../clean.js'
import { formatBytes, formatNumber } from '../format.js'
import { type ReportInput, targetViews } from '../input.js'
import type { DetailTable } from './table.js'

type Column = [label: string, cell: (block: BlockMetrics) => number | null]

const GPU: Column[] = [
  ['SM %', (block) => block.gpmSmMean ?? null],
  ['occupancy %', (block) => block.gpmOccupancyMean ?? null],
  ['tensor %', (block) => block.gpmTensorMean],
  ['DRAM %', (block) => block.gpmDramMean],
  ['any kernel %', (block) => block.gpuUtilizationMean],
  ['power W', (block) => block.powerWattsMean],
  ['J/token', (block) => block.joulesPerOutputToken],
]

const GPU_NOTE =
  'Any kernel is NVML’s utilization.gpu: the share of time in which any kernel ran, however small. It is near 100 in every decode loop and does not say how full the GPU was. ' +
  'GPM does: SM, share of their time in which SMs had a warp in flight; occupancy, warps in flight of those the SMs could hold; tensor cores and DRAM bandwidth, percent of peak.'

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
    title: gpu ? 'How busy the device was' : 'How busy the host was',
    head: ['mean of the window', ...columns.map(([label]) => label), 'memory, peak'],
    rows,
    words: [],
    notes: gpu
      ? [GPU_NOTE]
      : [
          'Memory: of the target’s process. Host CPU: percent of all cores, client and engine together. There was no GPU to read.',
        ],
  }
}
