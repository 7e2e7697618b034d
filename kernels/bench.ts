import { existsSync, realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Bench } from 'tinybench'
import { type ModelDimensions, parseModel } from './bench-model.js'
import { type BenchOperation, operations } from './bench-ops.js'
import { Pool } from './bench-pool.js'
import { DTYPE, Kernels } from './binding.js'
import { buildKernels } from './build.js'

/** What `bench kernels` renders: schema 1. Bandwidths in 1e9 bytes/s, rates in 1e12 floating-point operations/s. */
export interface KernelBenchResult {
  schema: 1
  backend: 'cpu' | 'cuda'
  device: string
  dtype: 'f32' | 'bf16'
  model: string
  ceilings: { copyGBs: number; readGBs: number; gemmTflops: number }
  ops: MeasuredOperation[]
}

export interface MeasuredOperation {
  op: string
  shape: string
  /** Median, cold cache. */
  timeUs: number
  gbPerSecond: number
  /** null for operations that only move bytes. */
  tflops: number | null
  /** max(bytes / bandwidth, flops / rate) / time, with the ceilings measured in the same run. */
  shareOfLimit: number
  bound: 'memory' | 'compute'
}

const TOKENS = [1, 16, 64, 256, 2048]
const COPY_BYTES = 256 * 2 ** 20

/** Ceilings and, unless `ceilingsOnly`, every operation at every step size. Each figure is a median over cold caches. */
export async function benchKernels(
  kernels: Kernels,
  model: ModelDimensions,
  ceilingsOnly: boolean,
): Promise<KernelBenchResult> {
  const { backend, name, dtype } = kernels.info
  const ceilings = await measureCeilings(kernels)
  const result: KernelBenchResult = { schema: 1, backend, device: name, dtype, model: model.name, ceilings, ops: [] }
  if (ceilingsOnly) return result
  const largest = Math.max(
    kernels.weightBytes(model.vocab, model.hidden),
    2048 * 2 * model.intermediate * 4,
    256 * model.vocab * 4,
  )
  const pool = new Pool(kernels, largest)
  for (const tokens of TOKENS) {
    for (const operation of operations(kernels, pool, model, tokens)) {
      const { medianSecs } = await measure(kernels, operation.enqueue, pool.rotations(operation.bytes))
      result.ops.push(judge(operation, medianSecs, ceilings))
    }
  }
  pool.free()
  return result
}

/** The best of several: a ceiling is what the machine can do, not what it did while something else ran. */
async function measureCeilings(kernels: Kernels): Promise<KernelBenchResult['ceilings']> {
  const rows = COPY_BYTES / kernels.info.weightBytes / 1024
  const from = kernels.alloc(Math.max(COPY_BYTES, kernels.weightBytes(rows, 1024)))
  const to = kernels.alloc(COPY_BYTES)
  const onGpu = kernels.info.backend === 'cuda'
  const side = onGpu ? 4096 : 1024
  const launches = onGpu ? 4 : 1 // on a GPU the start of a graph must not count; on a shared CPU a short run may be undisturbed
  const pool = new Pool(kernels, 4 * side * side)
  kernels.weightRandom(from, rows, 1024, 2, 1)
  const copyTime = await measure(kernels, () => kernels.copy(to, from, COPY_BYTES), launches)
  const readTime = await measure(kernels, () => kernels.read(to, from, COPY_BYTES), launches)
  const { activationBytes: x, activationDtype } = kernels.info
  const tensor = side * side * x
  const gemm = () =>
    kernels.matmul(
      pool.output(tensor),
      pool.input(tensor),
      pool.input(kernels.weightBytes(side, side)),
      0,
      side,
      side,
      side,
      DTYPE[activationDtype],
    )
  const gemmTime = await measure(kernels, gemm, launches)
  pool.free()
  kernels.free(from)
  kernels.free(to)
  return {
    copyGBs: (2 * COPY_BYTES) / copyTime.bestSecs / 1e9,
    readGBs: COPY_BYTES / readTime.bestSecs / 1e9,
    gemmTflops: (2 * side ** 3) / gemmTime.bestSecs / 1e12,
  }
}

interface Timing {
  medianSecs: number
  bestSecs: number
}

/**
 * Device seconds of one launch: `launches` of them, each on other memory, are recorded in a graph and replayed between two
 * events, so that neither the call from JavaScript nor a warm cache counts.
 */
async function measure(kernels: Kernels, enqueue: () => void, launches: number): Promise<Timing> {
  enqueue() // what a first use sets up must not happen while recording
  kernels.synchronize()
  kernels.graphBegin()
  for (let i = 0; i < launches; i++) enqueue()
  const graph = kernels.graphEnd()
  const start = kernels.eventCreate()
  const end = kernels.eventCreate()
  const bench = new Bench({ time: 100, iterations: 5, warmupTime: 0, warmupIterations: 1, throws: true })
  bench.add('graph', () => {
    kernels.eventRecord(start)
    kernels.graphLaunch(graph)
    kernels.eventRecord(end)
    if (!kernels.eventWait(end, 60_000)) throw new Error('a launch did not end within a minute')
    return { overriddenDuration: kernels.eventElapsedMs(start, end) }
  })
  await bench.run()
  const result = bench.tasks[0]!.result
  kernels.eventDestroy(start)
  kernels.eventDestroy(end)
  kernels.graphDestroy(graph)
  if (!('latency' in result)) throw new Error('tinybench gave no result')
  return { medianSecs: result.latency.p50 / 1000 / launches, bestSecs: result.latency.min / 1000 / launches }
}

function judge(operation: BenchOperation, seconds: number, ceilings: KernelBenchResult['ceilings']): MeasuredOperation {
  const memorySecs = operation.bytes / (Math.max(ceilings.copyGBs, ceilings.readGBs) * 1e9)
  const computeSecs = operation.flops / (ceilings.gemmTflops * 1e12)
  return {
    op: operation.op,
    shape: operation.shape,
    timeUs: seconds * 1e6,
    gbPerSecond: operation.bytes / seconds / 1e9,
    tflops: operation.flops > 0 ? operation.flops / seconds / 1e12 : null,
    shareOfLimit: Math.max(memorySecs, computeSecs) / seconds,
    bound: memorySecs >= computeSecs ? 'memory' : 'compute',
  }
}

function render(result: KernelBenchResult): string {
  const { copyGBs, readGBs, gemmTflops } = result.ceilings
  const lines = [
    `${result.device} (${result.backend}, ${result.dtype}), shapes of ${result.model}; median, cold cache`,
    `ceilings: copy ${copyGBs.toFixed(1)} GB/s, read ${readGBs.toFixed(1)} GB/s, GEMM ${gemmTflops.toFixed(3)} TFLOP/s`,
    `${'operation'.padEnd(18)}${'shape'.padEnd(28)}${'us'.padStart(10)}${'GB/s'.padStart(9)}${'TFLOP/s'.padStart(9)}${'share'.padStart(7)}`,
  ]
  for (const op of result.ops) {
    const figures = [
      op.timeUs.toFixed(1).padStart(10),
      op.gbPerSecond.toFixed(1).padStart(9),
      (op.tflops?.toFixed(3) ?? '').padStart(9),
    ]
    lines.push(
      `${op.op.padEnd(18)}${op.shape.padEnd(28)}${figures.join('')}${`${(100 * op.shareOfLimit).toFixed(0)} %`.padStart(7)} ${op.bound}`,
    )
  }
  return `${lines.join('\n')}\n`
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      ceilings: { type: 'boolean', default: false },
      library: { type: 'string' },
      model: { type: 'string' },
      dtype: { type: 'string', default: 'bf16' },
      threads: { type: 'string' },
    },
  })
  if (values.dtype !== 'bf16' && values.dtype !== 'f32')
    throw new RangeError(`dtype '${values.dtype}' is neither bf16 nor f32`)
  const path = await libraryPath(values.library)
  const kernels = new Kernels(path, {
    dtype: values.dtype,
    ...(values.threads ? { threads: Number(values.threads) } : {}),
  })
  const model = parseModel(values.model ?? (kernels.info.backend === 'cuda' ? 'llama-3-8b' : 'smollm2-135m'))
  const result = await benchKernels(kernels, model, values.ceilings)
  kernels.destroy()
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : render(result))
  return 0
}

/** cpu, cuda, a path, or absent: CUDA when its library is here, else the CPU. */
async function libraryPath(wanted: string | undefined): Promise<string> {
  if (wanted !== undefined && wanted !== 'cpu' && wanted !== 'cuda') {
    if (!existsSync(wanted)) throw new RangeError(`library '${wanted}' is neither cpu nor cuda nor a file`)
    return wanted
  }
  const built = await buildKernels(wanted === 'cuda' ? { cuda: true } : wanted === 'cpu' ? { cuda: false } : {})
  return built.cuda ?? built.cpu
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    process.exitCode = await main()
  } catch (error) {
    const usage = error instanceof RangeError || (error instanceof TypeError && 'code' in error)
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = usage ? 2 : 1
  }
}
