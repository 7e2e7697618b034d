import { formatNumber, formatShare } from '../format.js'
import type { ReportInput } from '../input.js'
import { type Chart, type ChartSpec, extent, FULL_WIDTH, targetHue, withTheme, zoomX } from './chart.js'
import { type RequestPhases, requestPhases } from './phases.js'
import { type ShownBlock, shownBlocks } from './shown.js'

/** Slots drawn per engine; of more, every k-th is drawn, and the page says so. */
const MAX_SLOTS = 20

/** Who sits in the batch: one row per slot, filled while it works for a request, hatched while it is computed for nothing, empty when idle. */
export function occupancyChart(input: ReportInput): Chart | null {
  const blocks = shownBlocks(input)
    .filter((block) => block.data.steps.some((entry) => entry.kind === 'request'))
    .map((block) => ({ block, slots: assignSlots(requestPhases(block, 'all')) }))
    .filter(({ slots }) => slots.length > 0)
  if (blocks.length === 0) return null
  const [, endSecs] = extent(blocks.flatMap(({ slots }) => slots.map((row) => row.to)))
  const names = blocks.map(({ block }) => `slots-${block.series}`)
  const rows = blocks.map(({ block }) => `${block.name} ${formatNumber(block.metrics?.meanBatchRows ?? null)}`)
  return {
    id: 'occupancy',
    title: `Mean rows per engine step: ${rows.join(', ')}`,
    note: 'One row per batch slot. Filled: prefill or decode for a request; hatched: the slot is held and computed for nothing; empty: idle. A continuous batch refills a slot at the next step, a static one when its batch ends.',
    legend: [
      ...blocks.map(({ block }) => ({ label: `${block.name}: useful`, color: targetHue(block.index), series: null })),
      { label: 'computed for nothing', color: 'url(#hatch)', series: null },
    ],
    readout: null,
    table: {
      head: ['target', 'mean rows', 'wasted share', 'peak KV share'],
      rows: blocks.map(({ block }) => [
        block.name,
        formatNumber(block.metrics?.meanBatchRows ?? null),
        formatShare(block.metrics?.paddedShare ?? null),
        formatShare(block.metrics?.kvPeakShare ?? null),
      ]),
    },
    spec: withTheme({
      params: [zoomX(names)],
      vconcat: blocks.map(({ block, slots }, index) =>
        panel(block, slots, names[index]!, endSecs, index === blocks.length - 1),
      ),
      resolve: { scale: { x: 'shared', color: 'independent' } },
      spacing: 14,
    }),
  }
}

interface SlotRow {
  s: 'useful' | 'wasted'
  slot: number
  from: number
  to: number
}

function panel(block: ShownBlock, values: readonly SlotRow[], name: string, endSecs: number, last: boolean): ChartSpec {
  const slots = extent(values.map((row) => row.slot))[1] + 1
  const every = Math.ceil(slots / MAX_SLOTS)
  const drawn = Math.ceil(slots / every)
  return {
    name,
    width: FULL_WIDTH + 44,
    height: drawn * 8,
    title: {
      text:
        every === 1 ? `${block.name}: ${slots} slots` : `${block.name}: ${drawn} of ${slots} slots, every ${every}th`,
    },
    data: { name: `slot-rows-${block.series}`, values: values.filter((row) => row.slot % every === 0) },
    mark: { type: 'bar', aria: false },
    encoding: {
      x: {
        field: 'from',
        type: 'quantitative',
        title: last ? 'seconds from the start of the measurement' : null,
        scale: { domain: [0, endSecs], nice: false },
        axis: { labels: last, grid: true, tickCount: 10 },
      },
      x2: { field: 'to' },
      y: {
        field: 'slot',
        type: 'ordinal',
        title: null,
        axis: null,
        scale: { domain: Array.from({ length: drawn }, (_, row) => row * every), paddingInner: 0.18 },
      },
      color: {
        field: 's',
        type: 'nominal',
        legend: null,
        scale: { domain: ['useful', 'wasted'], range: [targetHue(block.index), 'url(#hatch)'] },
      },
      tooltip: [
        { field: 's', title: 'slot is' },
        { field: 'slot' },
        { field: 'from', title: 'from, s' },
        { field: 'to', title: 'to, s' },
      ],
    },
  }
}

/** Puts each request's time in the batch into the lowest free slot (interval partitioning, greedy by start). */
function assignSlots(requests: readonly RequestPhases[]): SlotRow[] {
  const stays = requests
    .map((request) => request.segments.filter((segment) => segment.phase !== 'queue'))
    .filter((segments) => segments.length > 0)
    .sort((a, b) => a[0]!.startSecs - b[0]!.startSecs)
  const freeAt: number[] = []
  return stays.flatMap((segments) => {
    const start = segments[0]!.startSecs
    const free = freeAt.findIndex((time) => time <= start + 1e-3)
    const slot = free === -1 ? freeAt.length : free
    freeAt[slot] = segments.at(-1)!.endSecs
    return mergeUseful(segments)
      .filter((segment) => segment.to > 0)
      .map((segment) => ({ ...segment, from: Math.max(0, segment.from), slot }))
  })
}

function mergeUseful(segments: RequestPhases['segments']): Omit<SlotRow, 'slot'>[] {
  const merged: Omit<SlotRow, 'slot'>[] = []
  for (const { phase, startSecs, endSecs } of segments) {
    const s = phase === 'wasted' ? 'wasted' : 'useful'
    const previous = merged.at(-1)
    if (previous !== undefined && previous.s === s) previous.to = endSecs
    else merged.push({ s, from: startSecs, to: endSecs })
  }
  return merged
}
