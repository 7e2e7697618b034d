import type { BatchTrace } from '../../src/result/trace.js'
import { counted, formatCount, formatShare } from '../format.js'
import type { ReportInput } from '../input.js'
import {
  type Chart,
  type ChartSpec,
  extent,
  FULL_WIDTH,
  type LegendEntry,
  NOT_HIDDEN,
  targetHue,
  withTheme,
  zoomX,
} from './chart.js'
import { type PhaseName, type RequestPhases, requestPhases } from './phases.js'
import { type ShownBlock, shownBlocks } from './shown.js'

/** Rows drawn per engine; of more requests every k-th is drawn, and the page says so. */
const MAX_ROWS = 100
const COLORS: Record<PhaseName, string> = {
  queue: 'var(--queue)',
  wait: 'var(--wait)',
  prefill: 'var(--prefill)',
  decode: 'var(--decode)',
  wasted: 'url(#hatch)',
}

/** Every request as a bar of its phases, engines stacked on one time scale: the waste of a static batch is hatched. */
export function ganttChart(input: ReportInput): Chart | null {
  const blocks = shownBlocks(input)
    .map((block) => ({ block, requests: requestPhases(block) }))
    .filter(({ requests }) => requests.length > 0)
  if (blocks.length === 0) return null
  const [, endSecs] = extent(
    blocks.flatMap(({ requests }) => requests.flatMap(({ segments }) => segments.map((segment) => segment.endSecs))),
  )
  const names = blocks.map(({ block }) => `gantt-${block.series}`)
  const wasted = blocks.flatMap(({ block }) =>
    block.metrics?.paddedShare == null ? [] : [`${block.name} ${formatShare(block.metrics.paddedShare)}`],
  )
  return {
    id: 'gantt',
    title: wasted.length === 0 ? 'Requests over time' : `Computed tokens that were wasted: ${wasted.join(', ')}`,
    note: `One row per request by arrival, one time scale for all engines; first complete block of each. Hatched: rows computed for nothing (left padding, drawn in proportion within the prefill, and finished rows until their batch ends); thin lines: batches. ${sampled(blocks)}`,
    legend: legend(blocks.map(({ requests }) => requests)),
    readout: null,
    table: {
      head: ['target', 'requests', 'seconds', 'wasted share of computed tokens'],
      rows: blocks.map(({ block, requests }) => [
        block.name,
        formatCount(requests.length),
        block.durationSecs.toFixed(1),
        formatShare(block.metrics?.paddedShare ?? null),
      ]),
    },
    spec: withTheme({
      params: [zoomX(names)],
      vconcat: blocks.map(({ block, requests }, index) =>
        panel(block, requests, names[index]!, endSecs, index === blocks.length - 1),
      ),
      resolve: { scale: { x: 'shared', color: 'independent' } },
      spacing: 16,
    }),
  }
}

function panel(
  block: ShownBlock,
  requests: readonly RequestPhases[],
  name: string,
  endSecs: number,
  last: boolean,
): ChartSpec {
  const every = Math.ceil(requests.length / MAX_ROWS)
  const rows = requests.filter((_, index) => index % every === 0)
  const values = rows.flatMap((request, row) =>
    request.segments.map(({ phase, startSecs, endSecs: to }) => ({
      s: phase,
      row,
      from: startSecs,
      to,
      tokens: request.tokens,
    })),
  )
  const batches = block.data.steps
    .filter((entry): entry is BatchTrace => entry.kind === 'batch' && entry.startNs >= block.zeroNs)
    .map((entry) => ({ s: 'batch', from: Number(((entry.startNs - block.zeroNs) / 1e9).toFixed(3)) }))
  const x = (field: string) => ({
    field,
    type: 'quantitative',
    title: last ? 'seconds from the start of the measurement' : null,
    scale: { domain: [0, endSecs], nice: false },
    axis: { labels: last, grid: true, tickCount: 10 },
  })
  const rowHeight = rows.length > 60 ? 4 : rows.length > 30 ? 5 : 8
  return {
    width: FULL_WIDTH + 44,
    height: Math.max(40, rows.length * rowHeight),
    title: { text: `${block.name}: ${counted(requests.length, 'request')} in ${block.durationSecs.toFixed(1)} s` },
    data: { name: `requests-${block.series}`, values },
    layer: [
      {
        name,
        transform: [NOT_HIDDEN],
        mark: { type: 'bar', aria: false },
        encoding: {
          x: x('from'),
          x2: { field: 'to' },
          y: {
            field: 'row',
            type: 'ordinal',
            title: null,
            scale: { domain: rows.map((_, row) => row), paddingInner: 0.15 },
            axis: null,
          },
          color: phaseColor(block),
          tooltip: [
            { field: 's', title: 'phase' },
            { field: 'row', title: 'row' },
            { field: 'from', title: 'from, s' },
            { field: 'to', title: 'to, s' },
            { field: 'tokens', title: 'output tokens' },
          ],
        },
      },
      {
        data: { name: `batches-${block.series}`, values: batches },
        mark: { type: 'rule', stroke: 'var(--fg)', strokeWidth: 0.8, opacity: 0.55, aria: false },
        encoding: { x: x('from') },
      },
    ],
  }
}

/** Decoding carries the target's own colour. */
function phaseColor(block: ShownBlock): Record<string, unknown> {
  const phases = Object.keys(COLORS) as PhaseName[]
  const range = phases.map((phase) => (phase === 'decode' ? targetHue(block.index) : COLORS[phase]))
  return { field: 's', type: 'nominal', legend: null, scale: { domain: phases, range } }
}

const LABELS: Record<PhaseName, string> = {
  queue: 'queue',
  wait: 'waiting for the first token (queue and prefill, not told apart)',
  prefill: 'prefill',
  decode: 'decode (in the target’s colour)',
  wasted: 'wasted: padding and finished rows',
}

function legend(requests: readonly (readonly RequestPhases[])[]): LegendEntry[] {
  const present = new Set(requests.flat().flatMap((request) => request.segments.map((segment) => segment.phase)))
  return (Object.keys(LABELS) as PhaseName[])
    .filter((phase) => present.has(phase))
    .map((phase) => ({ label: LABELS[phase], color: COLORS[phase], series: phase }))
}

function sampled(blocks: readonly { requests: readonly RequestPhases[] }[]): string {
  const every = Math.max(...blocks.map(({ requests }) => Math.ceil(requests.length / MAX_ROWS)))
  return every === 1 ? '' : `One request in ${every} is drawn.`
}
