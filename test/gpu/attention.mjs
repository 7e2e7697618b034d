#!/usr/bin/env node
// Prefill attention by wgmma beside the same by mma.sync (option "wgmma": false): first equal on random data over shapes that go through
// every path (what the cache holds beyond a row's length is NaN), then timed. Tolerance: both round probabilities and results to bf16.
//   node test/gpu/attention.mjs [--library build/libkernels-cuda.so] [--only equal|time] [--json FILE]
// Exit code 1: they differ, or a kernel does not end. `build/check --op attention` compares either with f64.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Kernels, SLOT } from '../../dist/kernels/binding.js'

const { values: flags } = parseArgs({
  options: {
    library: { type: 'string', default: 'build/libkernels-cuda.so' },
    only: { type: 'string', default: '' },
    json: { type: 'string' },
  },
})
const WAIT_MS = 10_000
const NAN = 0xffff
const LLAMA = { heads: 32, kvHeads: 8, headDim: 128, block: 16 }
const LLAMA_1B = { heads: 32, kvHeads: 8, headDim: 64, block: 16 }
const one = { heads: 4, kvHeads: 1, headDim: 128, block: 16 }

// rows: [queries, keys in the cache with them]. zeroQueries: every visible key weighs the same, so only values can be wrong.
const SHAPES = [
  { name: 'one key', ...one, rows: [[1, 1]] },
  { name: 'one tile, equal weights', ...one, rows: [[32, 128]], zeroQueries: true },
  { name: 'one tile', ...one, rows: [[32, 128]] },
  { name: 'two tiles, equal weights', ...one, rows: [[32, 256]], zeroQueries: true },
  { name: 'two tiles', ...one, rows: [[32, 256]] },
  { name: 'one warpgroup', ...one, rows: [[16, 700]] },
  { name: 'a prompt', ...one, rows: [[333, 333]] },
  { name: 'a prompt, head_dim 64', ...one, headDim: 64, rows: [[333, 333]] },
  ...[1, 3, 8, 12, 16].map((group) => ({
    ...{ name: `${group} heads to a KV head`, ...one, heads: 2 * group, kvHeads: 2 },
    rows: [
      [100, 300],
      [1, 1],
      [0, 7],
      [77, 77],
    ],
  })),
  ...[32, 64, 128, 256].map((block) => ({ name: `blocks of ${block}`, ...one, block, rows: [[200, 501]] })),
  { name: 'blocks of 64, head_dim 64', ...one, headDim: 64, block: 64, rows: [[200, 501]] },
  { name: 'many short rows', ...LLAMA, rows: Array.from({ length: 90 }, (_, i) => [1 + (i % 7), 9 + 13 * i]) },
  {
    ...{ name: 'long and short rows', ...LLAMA },
    rows: [
      [1, 900],
      [600, 2600],
      [3, 40],
      [250, 250],
    ],
  },
  { name: 'T=2048', ...LLAMA, rows: [[2048, 2048]] },
  { name: 'T=2048, head_dim 64', ...LLAMA_1B, rows: [[2048, 2048]] },
  { name: 'chunk of 2048 on 8192', ...LLAMA, rows: [[2048, 8192]] },
]
const TIMED = [
  { name: 'T=512', ...LLAMA, rows: [[512, 512]] },
  { name: 'T=1024', ...LLAMA, rows: [[1024, 1024]] },
  { name: 'T=2048', ...LLAMA, rows: [[2048, 2048]] },
  { name: 'T=2048, blocks of 128', ...LLAMA, block: 128, rows: [[2048, 2048]] },
  { name: 'T=4096', ...LLAMA, rows: [[4096, 4096]] },
  { name: 'T=8192', ...LLAMA, rows: [[8192, 8192]] },
  { name: 'T=8192, blocks of 128', ...LLAMA, block: 128, rows: [[8192, 8192]] },
  { name: 'T=16384', ...LLAMA, rows: [[16384, 16384]] },
  { name: 'chunk of 2048 on 8192', ...LLAMA, rows: [[2048, 8192]] },
  { name: '4 prompts of 512', ...LLAMA, rows: Array.from({ length: 4 }, () => [512, 512]) },
  { name: '256 rows of one query, 1024 keys', ...LLAMA, rows: Array.from({ length: 256 }, () => [1, 1024]) },
  { name: 'T=2048, 32 KV heads', ...LLAMA, kvHeads: 32, rows: [[2048, 2048]] },
  { name: 'T=2048, head_dim 64', ...LLAMA_1B, rows: [[2048, 2048]] },
]

const BITS = new Uint32Array(1)
const FLOAT = new Float32Array(BITS.buffer)
let state = 1
const NORMALS = Uint16Array.from({ length: 2 ** 21 }, normal)
const results = { device: null, equal: [], timed: [] }
const sides = [true, false].map((wgmma) => new Kernels(flags.library, { dtype: 'bf16', cublaslt: 'none', wgmma }))
results.device = sides[0].info
console.log(`${results.device.name}, compute capability ${results.device.computeCapability}`)
let broken = 0
if (flags.only !== 'time') for (const shape of SHAPES) compare(shape)
// The time of a wrong kernel is no figure.
if (flags.only !== 'equal' && broken === 0) for (const shape of TIMED) time(shape)
if (flags.json) writeFileSync(flags.json, JSON.stringify(results))
console.log(broken > 0 ? `${broken} shapes DIFFER` : flags.only === 'time' ? 'timed' : 'all equal within tolerance')
process.exit(broken > 0 ? 1 : 0)

function compare(shape) {
  const data = makeData(shape)
  const [wgmma, sync] = sides.map((kernels) => {
    const work = place(kernels, shape, data)
    work.enqueue()
    wait(kernels, shape.name)
    const out = new Uint16Array(work.elements)
    kernels.download(out, work.out)
    work.free()
    return out
  })
  const { heads, headDim } = shape
  let worst = 0
  let first = -1
  let wrong = 0
  const where = { planes: [0, 0], parity: [0, 0], notFinite: 0 }
  for (let i = 0; i < wgmma.length; i++) {
    const [a, b] = [value(wgmma[i]), value(sync[i])]
    const size = Math.max(Math.abs(a), Math.abs(b), 0.5)
    const share = Math.abs(a - b) / (size * 6 * 2 ** -8)
    if (share <= 1) {
      if (share > worst) worst = share
      continue
    }
    if (first < 0) first = i
    wrong++
    if (!Number.isFinite(a)) where.notFinite++
    where.planes[Math.floor((i % headDim) / 64)]++
    where.parity[i & 1]++
  }
  broken += wrong > 0 ? 1 : 0
  results.equal.push({ name: shape.name, elements: wgmma.length, wrong, worst })
  const line = `${shape.name.padEnd(36)}${String(wgmma.length).padStart(9)} elements, worst ${worst.toFixed(3)} of the tolerance`
  if (wrong === 0) return console.log(`equal   ${line}`)
  const token = Math.floor(first / (heads * headDim))
  console.log(
    `DIFFERS ${line}; ${wrong} wrong ${JSON.stringify(where)}; first: token ${token}, head ${Math.floor(first / headDim) % heads}, ` +
      `column ${first % headDim}: wgmma ${value(wgmma[first])}, mma.sync ${value(sync[first])}`,
  )
}

function time(shape) {
  const data = makeData(shape)
  const pairs = shape.rows.reduce(
    (sum, [queries, keys]) => sum + queries * (keys - queries) + (queries * (queries + 1)) / 2,
    0,
  )
  const flops = 4 * pairs * shape.heads * shape.headDim
  const us = sides.map((kernels) => {
    const work = place(kernels, shape, data)
    const launches = Math.max(4, Math.min(40, Math.ceil(4e12 / flops)))
    work.enqueue()
    wait(kernels, shape.name)
    kernels.graphBegin()
    for (let i = 0; i < launches; i++) work.enqueue()
    const graph = kernels.graphEnd()
    const [start, end] = [kernels.eventCreate(), kernels.eventCreate()]
    const times = []
    for (let round = 0; round < 9; round++) {
      kernels.eventRecord(start)
      kernels.graphLaunch(graph)
      kernels.eventRecord(end)
      if (!kernels.eventWait(end, WAIT_MS)) stuck(shape.name)
      if (round > 1) times.push((1000 * kernels.eventElapsedMs(start, end)) / launches)
    }
    for (const event of [start, end]) kernels.eventDestroy(event)
    kernels.graphDestroy(graph)
    work.free()
    return times.sort((a, b) => a - b)[Math.floor(times.length / 2)]
  })
  const tflops = us.map((each) => flops / each / 1e6)
  results.timed.push({ name: shape.name, wgmmaUs: us[0], syncUs: us[1], wgmmaTflops: tflops[0], syncTflops: tflops[1] })
  const side = (i) => `${us[i].toFixed(1).padStart(9)} us ${tflops[i].toFixed(1).padStart(6)} TFLOP/s`
  console.log(`${shape.name.padEnd(36)} wgmma ${side(0)}   mma.sync ${side(1)}   ${(us[1] / us[0]).toFixed(2)} x`)
}

/** Random queries (a [T, (heads + 2 kvHeads) headDim] buffer) and cache, blocks in scattered order; NaN where no key is. */
function makeData({ heads, kvHeads, headDim, block, rows, zeroQueries }) {
  const tokens = rows.reduce((sum, [queries]) => sum + queries, 0)
  const needed = rows.map(([, keys]) => Math.ceil(keys / block))
  const most = Math.max(...needed)
  const blocks = needed.reduce((sum, count) => sum + count, 0) + 1 // nobody's block 0
  const order = Int32Array.from({ length: blocks - 1 }, (_, i) => i + 1)
  for (let i = order.length - 1; i > 0; i--) {
    const j = random() % (i + 1)
    const other = order[i]
    order[i] = order[j]
    order[j] = other
  }
  const blockElements = 2 * kvHeads * block * headDim
  const cache = new Uint16Array(blocks * blockElements).fill(NAN)
  const stride = SLOT.blocks + most
  const table = new Int32Array(rows.length * stride).fill(-1)
  let taken = 0
  rows.forEach(([, keys], row) => {
    for (let b = 0; b * block < keys; b++) {
      const id = order[taken++]
      table[row * stride + SLOT.blocks + b] = id
      const here = Math.min(block, keys - b * block)
      for (let line = 0; line < 2 * kvHeads; line++) {
        const at = id * blockElements + line * block * headDim
        fillNormal(cache, at, here * headDim)
      }
    }
  })
  const width = (heads + 2 * kvHeads) * headDim
  const q = new Uint16Array(Math.max(1, tokens) * width).fill(NAN)
  for (let t = 0; t < tokens; t++) {
    if (zeroQueries) q.fill(0, t * width, t * width + heads * headDim)
    else fillNormal(q, t * width, heads * headDim)
  }
  const starts = Int32Array.from({ length: rows.length + 1 }, (_, r) =>
    rows.slice(0, r).reduce((sum, [n]) => sum + n, 0),
  )
  return { tokens, blockElements, cache, q, width, stride, table, starts }
}

/** The same data on one side's memory, and how to launch. */
function place(kernels, { heads, kvHeads, headDim, block, rows }, data) {
  const held = []
  const upload = (values) => {
    const address = kernels.alloc(values.byteLength)
    held.push(address)
    kernels.upload(address, values)
    return address
  }
  const maxKv = Math.max(...rows.map(([, keys]) => keys))
  const elements = data.tokens * heads * headDim
  const out = upload(new Uint16Array(elements).fill(NAN))
  const [q, cache, table, starts] = [data.q, data.cache, data.table, data.starts].map(upload)
  const lengths = upload(Int32Array.from(rows, ([, keys]) => keys))
  const slots = upload(Int32Array.from(rows, (_, r) => r))
  const workspace = kernels.alloc(kernels.attentionWorkspaceBytes(rows.length, data.tokens, heads, headDim, maxKv))
  held.push(workspace)
  return {
    elements,
    out,
    enqueue: () =>
      kernels.attention(
        ...[out, q, data.width, cache, 2 * data.blockElements, block, starts, lengths, slots, table, data.stride],
        ...[rows.length, 0, data.tokens, heads, kvHeads, headDim, 1 / Math.sqrt(headDim), maxKv, workspace],
      ),
    free: () => {
      for (const address of held) kernels.free(address)
    },
  }
}

function wait(kernels, name) {
  const event = kernels.eventCreate()
  kernels.eventRecord(event)
  if (!kernels.eventWait(event, WAIT_MS)) stuck(name)
  kernels.eventDestroy(event)
}

/** Nothing more can be done on this device: the kernel that does not end holds it. */
function stuck(name) {
  console.log(`STUCK   ${name}: no end after ${WAIT_MS} ms`)
  process.kill(process.pid, 'SIGKILL')
}

function value(bits) {
  BITS[0] = bits << 16
  return FLOAT[0]
}

/** xorshift32 (Marsaglia 2003). */
function random() {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return state >>> 0
}

/** `count` elements from `at` on: a piece of NORMALS from a random place. */
function fillNormal(array, at, count) {
  const from = random() % (NORMALS.length - count)
  array.set(NORMALS.subarray(from, from + count), at)
}

/** About normal, as bf16: four uniforms, variance 1. */
function normal() {
  const a = random()
  const b = random()
  FLOAT[0] = ((a & 0xffff) + (a >>> 16) + (b & 0xffff) + (b >>> 16) - 131070) / 37837
  return BITS[0] >>> 16
}
