import type { ReportInput } from '../input.js'
import { receivedTokens, type SeriesPoint, stepLevel, stepRate, stepShare, telemetrySeries } from './series.js'
import type { ShownBlock } from './shown.js'

export interface Panel {
  id: string
  label: string
  points: SeriesPoint[]
  /** Top of the y axis, when fixed. */
  max: number | null
  /** A level worth a line: the power limit. */
  rule: { value: number; label: string } | null
  strip: boolean
}

/** Client, engine and device, in the order of the page; a panel without a value is left out by the chart. */
export function allPanels(input: ReportInput, blocks: readonly ShownBlock[], bin: number): Panel[] {
  const panel = (
    id: string,
    label: string,
    series: (block: ShownBlock) => SeriesPoint[],
    max: number | null = null,
  ): Panel => ({
    id,
    label,
    points: blocks.flatMap(series),
    max,
    rule: null,
    strip: false,
  })
  const gpu = input.run.manifest.telemetry?.gpu ?? null
  const power = panel('power', 'Power, W', (block) => telemetrySeries(block, bin, (sample) => sample.powerWatts))
  const throttle = panel('throttle', 'Clock throttled', (block) =>
    telemetrySeries(block, bin, (sample) =>
      sample.throttleReasons === null ? null : (sample.throttleReasons & ~IDLE_OR_APPLICATION) === 0 ? 0 : 1,
    ),
  )
  return [
    panel('output', 'Output tokens/s received', (block) => receivedTokens(block, bin)),
    panel('prefill', 'Prompt tokens/s prefilled', (block) => stepRate(block, bin, (step) => step.prefillTokens)),
    panel('running', 'Requests running (solid) and waiting (dashed)', (block) => [
      ...stepLevel(block, bin, (step) => step.running),
      ...stepLevel(block, bin, (step) => step.waiting).map((point) => ({ ...point, line: 'dashed' as const })),
    ]),
    panel(
      'padding',
      'Computed tokens that were padding or finished rows, %',
      (block) =>
        stepShare(
          block,
          bin,
          (step) => step.paddedTokens * 100,
          (step) => step.paddedTokens + step.prefillTokens + step.decodeTokens,
        ),
      100,
    ),
    panel(
      'kv',
      'KV cache blocks held, %',
      (block) => stepLevel(block, bin, (step) => (100 * step.kvBlocksUsed) / Math.max(1, step.kvBlocksTotal)),
      100,
    ),
    ...(gpu === null
      ? [
          panel(
            'cpu',
            'CPU of the whole host, % of all cores',
            (block) => telemetrySeries(block, bin, (sample) => sample.hostCpuPercent),
            100,
          ),
        ]
      : [
          panel(
            'utilization',
            'utilization.gpu: any kernel active, % of time (not how full the GPU is)',
            (block) => telemetrySeries(block, bin, (sample) => sample.gpuUtilizationPercent),
            100,
          ),
          panel(
            'sm',
            'SMs with a warp in flight, % of time (GPM)',
            (block) => telemetrySeries(block, bin, (sample) => sample.gpmSmPercent),
            100,
          ),
          panel(
            'occupancy',
            'Warps in flight, % of those the SMs could hold (GPM)',
            (block) => telemetrySeries(block, bin, (sample) => sample.gpmOccupancyPercent),
            100,
          ),
          panel(
            'dram',
            'DRAM bandwidth, % of peak (GPM)',
            (block) => telemetrySeries(block, bin, (sample) => sample.gpmDramPercent),
            100,
          ),
          panel(
            'tensor',
            'Tensor cores active, % of peak (GPM)',
            (block) => telemetrySeries(block, bin, (sample) => sample.gpmTensorPercent),
            100,
          ),
          {
            ...power,
            rule:
              gpu.powerLimitWatts === null
                ? null
                : { value: gpu.powerLimitWatts, label: `limit ${gpu.powerLimitWatts} W` },
          },
          panel('clock', 'SM clock, MHz', (block) => telemetrySeries(block, bin, (sample) => sample.smClockMhz)),
          { ...throttle, points: throttle.points.filter((point) => point.v === 1), strip: true },
        ]),
  ]
}

/** NVML clock event reasons 1 (idle) and 2 (application clocks) are no throttling. */
const IDLE_OR_APPLICATION = 3
