import { formatNumber, formatShare } from '../format.js'
import type { ReportInput } from '../input.js'
import { type Chart, type ChartSpec, FULL_WIDTH, NOT_HIDDEN, targetColor, withTheme, zoomX } from './chart.js'
import { binSecs } from './series.js'
import { type ShownBlock, shownBlocks, targetLegend } from './shown.js'
import { allPanels, type Panel } from './timeline-panels.js'

/** What happened when: client, engine and device on one clock, the targets laid over each other from the start of their measurement. */
export function timelineChart(input: ReportInput): Chart | null {
  const blocks = shownBlocks(input)
  if (blocks.length === 0) return null
  const endSecs = Math.max(...blocks.map((block) => block.durationSecs))
  const bin = binSecs(endSecs)
  const panels = allPanels(input, blocks, bin).filter((panel) => panel.points.some((point) => point.v !== null))
  if (panels.length === 0) return null
  const names = panels.map((panel) => `panel-${panel.id}`)
  return {
    id: 'timeline',
    title: timelineTitle(blocks),
    note: `First complete block of each target, from the start of its measurement; bins of ${bin} s; all panels share the time axis. Tokens are those the client received; batch, padding and KV come from the engine’s step trace; ${deviceNote(input)}`,
    legend: targetLegend(input).filter((entry) => blocks.some((block) => block.series === entry.series)),
    readout: { datasets: panels.map(({ id, label }) => ({ name: id, label })), unit: 's' },
    table: {
      head: [
        'target',
        'seconds',
        'mean rows',
        'wasted share',
        'peak KV share',
        'host CPU %',
        'GPU any kernel %',
        'SM %',
        'occupancy %',
        'tensor %',
        'DRAM %',
        'power W',
      ],
      rows: blocks.map(({ name, durationSecs, metrics }) => [
        name,
        durationSecs.toFixed(1),
        formatNumber(metrics?.meanBatchRows ?? null),
        formatShare(metrics?.paddedShare ?? null),
        formatShare(metrics?.kvPeakShare ?? null),
        formatNumber(metrics?.hostCpuMean ?? null),
        formatNumber(metrics?.gpuUtilizationMean ?? null),
        formatNumber(metrics?.gpmSmMean ?? null),
        formatNumber(metrics?.gpmOccupancyMean ?? null),
        formatNumber(metrics?.gpmTensorMean ?? null),
        formatNumber(metrics?.gpmDramMean ?? null),
        formatNumber(metrics?.powerWattsMean ?? null),
      ]),
    },
    spec: withTheme({
      params: [zoomX(names)],
      vconcat: panels.map((panel, index) =>
        panelSpec(panel, names[index]!, endSecs, input.run.manifest.targets.length, index === panels.length - 1),
      ),
      resolve: { scale: { x: 'shared' } },
      spacing: 12,
    }),
  }
}

function panelSpec(panel: Panel, name: string, endSecs: number, targets: number, last: boolean): ChartSpec {
  const x = {
    field: 't',
    type: 'quantitative',
    title: last ? 'seconds from the start of the measurement' : null,
    scale: { domain: [0, endSecs], nice: false },
    axis: { labels: last, grid: true, tickCount: 10, ticks: last, domain: last },
  }
  const y = {
    field: 'v',
    type: 'quantitative',
    title: null,
    scale: valueScale(panel),
    axis: { tickCount: 3, format: '~s' },
  }
  const dashed = panel.points.some((point) => point.line === 'dashed')
  const strokeDash = {
    field: 'line',
    type: 'nominal',
    legend: null,
    scale: {
      domain: ['solid', 'dashed'],
      range: [
        [1, 0],
        [4, 3],
      ],
    },
  }
  const common = {
    width: FULL_WIDTH,
    title: { text: panel.label, fontSize: 11, fontWeight: 600, offset: 4 },
    data: {
      name: panel.id,
      values: dashed ? panel.points.map((point) => ({ line: 'solid', ...point })) : panel.points,
    },
  }
  if (panel.strip)
    return {
      ...common,
      name,
      height: 8 * targets,
      transform: [NOT_HIDDEN],
      mark: { type: 'tick', thickness: 3, size: 7, aria: false },
      encoding: {
        x,
        y: {
          field: 's',
          type: 'nominal',
          title: null,
          axis: null,
          scale: { domain: Array.from({ length: targets }, (_, index) => `t${index}`) },
        },
        color: targetColor(targets),
      },
    }
  const line = {
    name,
    transform: [NOT_HIDDEN],
    mark: {
      type: 'line',
      interpolate: 'step-after',
      strokeWidth: 1.5,
      invalid: 'break-paths-show-domains',
      aria: false,
    },
    encoding: { x, y, color: targetColor(targets), ...(dashed ? { strokeDash } : {}) },
  }
  const rule = panel.rule
  return {
    ...common,
    height: 58,
    layer: rule === null ? [line] : [line, ...ruleLayers(rule)],
  }
}

function valueScale(panel: Panel): Record<string, unknown> {
  if (panel.max !== null) return { domain: [0, panel.max * 1.04], nice: false }
  // Nothing but zeros would give a scale without an extent.
  if (panel.points.every((point) => point.v === null || point.v === 0)) return { domain: [0, 1] }
  return { zero: panel.id !== 'clock' }
}

function ruleLayers(rule: { value: number; label: string }): ChartSpec[] {
  const data = { name: 'power limit', values: [rule] }
  const y = { field: 'value', type: 'quantitative' }
  return [
    {
      data,
      mark: { type: 'rule', stroke: 'var(--fg)', strokeDash: [4, 3], opacity: 0.6, aria: false },
      encoding: { y },
    },
    {
      data,
      mark: { type: 'text', align: 'right', x: 'width', dy: 9, fontSize: 10, fill: 'var(--muted)', aria: false },
      encoding: { y, text: { field: 'label' } },
    },
  ]
}

/** Only complete blocks without a failed request did the same work. */
function timelineTitle(blocks: readonly ShownBlock[]): string {
  const seconds = blocks.map((block) => `${block.name} ${block.durationSecs.toFixed(1)} s`).join(', ')
  const same = blocks.every((block) => block.data.manifest.status === 'complete' && block.metrics?.requestsFailed === 0)
  return same && blocks.length > 1 ? `The same work took ${seconds}` : `Seconds of the drawn blocks: ${seconds}`
}

function deviceNote(input: ReportInput): string {
  const telemetry = input.run.manifest.telemetry
  if (telemetry === null) return 'no telemetry was taken.'
  if (telemetry.gpu === null) return `no GPU telemetry: ${Object.values(telemetry.absent)[0] ?? 'no GPU'}.`
  return `GPU readings every ${telemetry.periodMs} ms from NVML and GPM.`
}
