import Table from 'cli-table3'
import { runForOutput } from './process.js'

/** What kernels/bench.ts prints as JSON. */
interface KernelBench {
  backend: string
  device: string
  ceilings: { copyGBs: number | null; readGBs: number | null; gemmTflops: number | null }
  ops: {
    op: string
    shape: string
    timeUs: number
    gbPerSecond: number | null
    tflops: number | null
    shareOfLimit: number | null
    bound: 'memory' | 'compute'
  }[]
}

/** `bench kernels`: every operation alone, cold, with its share of this machine's measured ceiling. */
export async function kernelsCommand(options: { json?: boolean; backend?: string; model?: string }): Promise<void> {
  const args = [
    '--json',
    ...(options.backend ? ['--library', options.backend] : []),
    ...(options.model ? ['--model', options.model] : []),
  ]
  const output = await runForOutput('kernelBench', args)
  if (options.json) {
    process.stdout.write(output)
    return
  }
  process.stdout.write(render(JSON.parse(output) as KernelBench))
}

/**
 * The measured ceilings alone, for the report's share of the limit; null when they cannot be measured. BENCH_CEILINGS (the `ceilings`
 * object of `bench kernels --json`) carries a measurement made just before, for several runs in a row.
 */
export async function measureCeilings(backend: string | null): Promise<KernelBench['ceilings'] | null> {
  const given = process.env['BENCH_CEILINGS']
  if (given) return JSON.parse(given) as KernelBench['ceilings']
  try {
    const output = await runForOutput('kernelBench', [
      '--json',
      '--ceilings',
      ...(backend ? ['--library', backend] : []),
    ])
    return (JSON.parse(output) as KernelBench).ceilings
  } catch {
    return null
  }
}

function render(bench: KernelBench): string {
  const { copyGBs, readGBs, gemmTflops } = bench.ceilings
  const table = new Table({
    head: ['op', 'shape', 'time us', 'GB/s', 'TFLOP/s', 'share of limit', 'bound by'],
    style: { head: [], border: [] },
  })
  for (const op of bench.ops)
    table.push([
      op.op,
      op.shape,
      op.timeUs.toFixed(1),
      figure(op.gbPerSecond),
      figure(op.tflops, 2),
      op.shareOfLimit === null ? '-' : `${(100 * op.shareOfLimit).toFixed(0)} %`,
      op.bound,
    ])
  return (
    `${bench.device} (${bench.backend}). Ceilings measured here: copy ${figure(copyGBs)} GB/s (read + write), ` +
    `read ${figure(readGBs)} GB/s, GEMM ${figure(gemmTflops, 2)} TFLOP/s. Median, cold cache.\n${table.toString()}\n`
  )
}

function figure(value: number | null, digits = 1): string {
  return value === null ? '-' : value.toFixed(digits)
}
