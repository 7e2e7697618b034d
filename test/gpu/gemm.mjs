#!/usr/bin/env node
// Our Hopper product (kernels/matmul_hopper.cu) against cuBLASLt, at the products of a model: every variant forced, checked and timed.
// Correct means: at sampled rows and columns within rounding of f64, whole sampled rows within rounding of cuBLASLt's. `gate_up+silu` is
// kn_mlp_input, norm included: activated in the product's own kernel, beside product and activation apart.
// A launch that fails or does not end is named and ends the run: --variants 1 (no cluster) and 0 (a cluster of two) tell which part is wrong.
//   node test/gpu/gemm.mjs [--model llama-3-8b] [--tokens 128,256,512,1024,2048,4096,8192] [--products qkv,o,gate_up,down,lm_head,gate_up+silu]
//                          [--variants 0,1] [--json FILE]
// Without --variants: all nine up to 512 tokens; beyond, the five that are worth it. Exit code 1: a result is wrong.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { parseModel } from '../../dist/kernels/bench-model.js'
import { DTYPE, Kernels } from '../../dist/kernels/binding.js'
import { buildKernels } from '../../dist/kernels/build.js'

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: 'llama-3-8b' },
    tokens: { type: 'string', default: '128,256,512,1024,2048,4096,8192' },
    products: { type: 'string', default: 'qkv,o,gate_up,down,lm_head,gate_up+silu' },
    variants: { type: 'string' },
    json: { type: 'string' },
  },
})
const NAMES = ['256x2', '256', '224x2', '224', '128x2', '128', '96x2', '64x2', '64'] // columns of a tile, blocks of a cluster
const LARGE = [0, 1, 2, 4, 5]
const CAREFUL_FIRST = [1, 3, 5, 8, 0, 2, 4, 6, 7] // what needs no cluster, then what does
const SAMPLES = 24
const WAIT_MS = 20_000
const COLD_BYTES = 128 * 2 ** 20
const model = parseModel(flags.model)
const library = (await buildKernels({ cuda: true })).cuda
const base = new Kernels(library, { dtype: 'bf16', matmul: 'library' })
const named = flags.variants?.split(',').map(Number)
const variants = (named ?? CAREFUL_FIRST).map((v) => ({
  v,
  kernels: new Kernels(library, { dtype: 'bf16', matmul: `hopper:${v}` }),
}))
console.log(
  `${base.info.name}; cuBLASLt ${base.info.cublaslt ?? 'absent: our own mma.sync kernel stands in'}; shapes of ${model.name}`,
)
const rows = []
let wrong = 0
for (const tokens of flags.tokens.split(',').map(Number)) {
  for (const product of products(tokens).filter(({ name }) => flags.products.split(',').includes(name)))
    rows.push(...compare(product, tokens))
}
if (flags.json) writeFileSync(flags.json, JSON.stringify({ schema: 1, device: base.info, model: model.name, rows }))
console.log(wrong === 0 ? 'gemm: all correct' : `gemm: ${wrong} WRONG`)
process.exit(wrong === 0 ? 0 : 1)

function products(tokens) {
  const { hidden: d, heads, kvHeads, headDim, intermediate: f, vocab } = model
  const list = [
    { name: 'qkv', n: (heads + 2 * kvHeads) * headDim, k: d },
    { name: 'o', n: d, k: heads * headDim },
    { name: 'gate_up', n: 2 * f, k: d },
    { name: 'down', n: d, k: f },
    { name: 'gate_up+silu', n: 2 * f, k: d, silu: true },
  ]
  return tokens <= 256 ? [...list, { name: 'lm_head', n: vocab, k: d, f32: true }] : list
}

/** One line for cuBLASLt and one for each variant: microseconds, TFLOP/s, correct. */
function compare({ name, n, k, silu = false, f32 = false }, tokens) {
  const columns = silu ? n / 2 : n
  const elementBytes = f32 ? 4 : 2
  const copies = Math.max(2, Math.ceil(COLD_BYTES / (2 * n * k)))
  const weights = Array.from({ length: copies }, (_, i) => random(n, k, 11 + i, 0.02))
  const input = random(tokens, k, 5, 1)
  const norm = silu ? ones(k) : 0
  const normed = silu ? base.alloc(2 * tokens * k) : 0
  const gateUp = silu ? base.alloc(2 * tokens * n) : 0
  const out = base.alloc(tokens * columns * elementBytes)
  const enqueue = (kernels, weight) =>
    silu
      ? kernels.mlpInput(out, 0, normed, gateUp, input, 0, norm, 1e-5, weight, tokens, k, columns)
      : kernels.matmul(out, input, weight, 0, tokens, n, k, f32 ? DTYPE.f32 : DTYPE.bf16)
  const at = sampled(tokens)
  const outcome = (kernels) => {
    base.fill(out, 0xff, tokens * columns * elementBytes)
    base.synchronize()
    enqueue(kernels, weights[0])
    finish(kernels)
    return at.map((row) => read(out, row, columns, f32))
  }
  const expected = outcome(base)
  const exact = silu ? null : reference(input, weights[0], at, n, k)
  const lines = []
  const report = (kernel, kernels, correct) => {
    const secs = time(kernels, (i) => enqueue(kernels, weights[i % copies]), copies, (2 * tokens * n * k) / 5e14)
    const tflops = (2 * tokens * n * k) / secs / 1e12
    if (!correct) wrong++
    lines.push({ product: name, tokens, n, k, kernel, us: secs * 1e6, tflops, correct })
    console.log(
      `${name.padEnd(13)} M=${String(tokens).padEnd(5)} ${kernel.padEnd(9)} ${(secs * 1e6).toFixed(1).padStart(8)} us ${tflops.toFixed(0).padStart(5)} TFLOP/s  ${correct ? 'correct' : 'WRONG'}`,
    )
  }
  report('cuBLASLt', base, exact === null || isExact(expected, exact, f32))
  for (const { v, kernels } of variants) {
    if (named === undefined && tokens > 512 && !LARGE.includes(v)) continue
    try {
      const got = outcome(kernels)
      report(NAMES[v], kernels, isClose(got, expected, f32) && (exact === null || isExact(got, exact, f32)))
    } catch (error) {
      console.log(`${name} M=${tokens} ${NAMES[v]}: ${error.message}`) // the device is lost, to every kernel of this process
      process.exit(1)
    }
  }
  for (const address of [...weights, input, norm, normed, gateUp, out]) if (address !== 0) base.free(address)
  return lines
}

/** Throws when the device does not come to its end, so that a deadlock is told and not waited for. */
function finish(kernels) {
  const event = kernels.eventCreate()
  kernels.eventRecord(event)
  if (!kernels.eventWait(event, WAIT_MS)) throw new Error(`a launch did not end within ${WAIT_MS} ms`)
  kernels.eventDestroy(event)
}

function random(rowCount, columnCount, seed, scale) {
  const address = base.alloc(base.weightBytes(rowCount, columnCount))
  base.weightRandom(address, rowCount, columnCount, seed, scale)
  return address
}
function ones(count) {
  const address = base.alloc(2 * count)
  base.vectorLoad(address, new Float32Array(count).fill(1))
  return address
}

/** Rows at the edges of tiles, the last, and some between. */
function sampled(tokens) {
  const edges = [0, 1, 8, 63, 64, 127, 128, 255, 256, tokens - 65, tokens - 2, tokens - 1]
  const between = Array.from({ length: SAMPLES }, (_, i) => Math.floor(((i + 0.37) * tokens) / SAMPLES))
  return [...new Set([...edges, ...between])].filter((row) => row >= 0 && row < tokens)
}

/** Row `row` of a matrix at `address`, as numbers. */
function read(address, row, columns, f32 = false) {
  if (f32) {
    const values = new Float32Array(columns)
    base.download(values, address + row * columns * 4)
    return values
  }
  const halves = new Uint16Array(columns)
  base.download(halves, address + row * columns * 2)
  const words = new Uint32Array(columns)
  for (let i = 0; i < columns; i++) words[i] = halves[i] << 16
  return new Float32Array(words.buffer)
}

/** f64 sums, and the sums of magnitudes, at the sampled rows and at columns spread over all tiles. */
function reference(input, weight, at, n, k) {
  const columns = [...new Set(Array.from({ length: 48 }, (_, i) => Math.floor((i * (n - 1)) / 47)))]
  const inputs = at.map((row) => read(input, row, k))
  return columns.map((column) => {
    const w = read(weight, column, k)
    return {
      column,
      sums: inputs.map((x) => {
        let [sum, size] = [0, 0]
        for (let i = 0; i < k; i++) {
          sum += x[i] * w[i]
          size += Math.abs(x[i] * w[i])
        }
        return { sum, tolerance: 4 * Math.sqrt(k) * 2 ** -24 * size }
      }),
    }
  })
}
function isExact(rowsGot, columns, f32) {
  return columns.every(({ column, sums }) =>
    sums.every(({ sum, tolerance }, i) => {
      const error = Math.abs(rowsGot[i][column] - sum)
      return error <= tolerance + (f32 ? 0 : 2 ** -8 * Math.abs(sum)) // NaN is not
    }),
  )
}
/** Both are rounded once (gate and up twice), and sum in another order: two units of rounding, and a share of the typical size. */
function isClose(rowsGot, rowsExpected, f32) {
  return rowsGot.every((got, i) => {
    const expected = rowsExpected[i]
    let squares = 0
    for (const value of expected) squares += value * value
    const typical = Math.sqrt(squares / expected.length)
    return got.every(
      (value, c) => Math.abs(value - expected[c]) <= (f32 ? 1e-4 : 2 ** -6) * Math.abs(expected[c]) + 2 ** -9 * typical,
    )
  })
}

/** Seconds of one launch: the median of five replays of a graph that rotates over the weights, so that none is in the cache. */
function time(kernels, enqueue, copies, estimateSecs) {
  const launches = Math.min(64, Math.max(copies, Math.ceil(4e-3 / estimateSecs)))
  kernels.graphBegin()
  for (let i = 0; i < launches; i++) enqueue(i)
  const graph = kernels.graphEnd()
  const [start, end] = [kernels.eventCreate(), kernels.eventCreate()]
  const secs = Array.from({ length: 6 }, () => {
    kernels.eventRecord(start)
    kernels.graphLaunch(graph)
    kernels.eventRecord(end)
    if (!kernels.eventWait(end, WAIT_MS)) throw new Error(`a graph did not end within ${WAIT_MS} ms`)
    return kernels.eventElapsedMs(start, end) / 1e3 / launches
  }).slice(1)
  kernels.eventDestroy(start)
  kernels.eventDestroy(end)
  kernels.graphDestroy(graph)
  return secs.sort((a, b) => a - b)[2]
}
