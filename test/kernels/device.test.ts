import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type DeviceOptions, DTYPE, Kernels, STEP } from '../../kernels/binding.js'
import { buildKernels } from '../../kernels/build.js'

let library: string
const open: Kernels[] = []

beforeAll(async () => {
  library = (await buildKernels({ cuda: false })).cpu
}, 600_000)
afterEach(() => {
  for (const kernels of open.splice(0)) kernels.destroy()
})

function device(options: Partial<DeviceOptions> = {}): Kernels {
  const kernels = new Kernels(library, { dtype: 'f32', threads: 2, ...options })
  open.push(kernels)
  return kernels
}

function upload(kernels: Kernels, values: Float32Array | Int32Array): number {
  const address = kernels.alloc(values.byteLength)
  kernels.upload(address, values)
  return address
}

function readFloats(kernels: Kernels, address: number, count: number): number[] {
  const values = new Float32Array(count)
  kernels.download(values, address)
  return [...values]
}

describe('the CPU device through the binding', () => {
  it('says what it is', () => {
    expect(device({ isa: 'portable' }).info).toMatchObject({
      backend: 'cpu',
      isa: 'portable',
      threads: 2,
      dtype: 'f32',
      weightBytes: 4,
      kvBytes: 4,
      activationBytes: 4,
      activationDtype: 'f32',
      driver: null,
    })
    expect(device({ dtype: 'bf16' }).info).toMatchObject({ weightBytes: 2, kvBytes: 2, activationBytes: 4 })
  })

  it('multiplies matrices', () => {
    const kernels = device()
    const weight = kernels.alloc(kernels.weightBytes(2, 3))
    kernels.weightLoad(weight, Float32Array.of(1, 2, 3, 4, 5, 6), 'f32', 2, 3)
    const bias = kernels.alloc(8)
    kernels.vectorLoad(bias, Float32Array.of(100, 200))
    const x = upload(kernels, Float32Array.of(1, 0, -1, 2, 2, 2))
    const out = kernels.alloc(16)
    kernels.matmul(out, x, weight, bias, 2, 2, 3, DTYPE.f32)
    expect(readFloats(kernels, out, 4)).toEqual([98, 198, 112, 230])
  })

  it('replays a graph with what its buffers hold then, and lets pinned memory be seen without a copy', () => {
    const kernels = device()
    const pinned = kernels.hostAlloc(16)
    const view = new Float32Array(pinned.buffer)
    const sum = upload(kernels, Float32Array.of(0, 0, 0, 0))
    const step = kernels.alloc(16)
    kernels.graphBegin()
    kernels.uploadAsync(step, pinned.address, 16)
    kernels.add(sum, step, 1, 4)
    kernels.downloadAsync(pinned.address, sum, 16)
    const graph = kernels.graphEnd()
    expect(readFloats(kernels, sum, 4)).toEqual([0, 0, 0, 0])
    view.set([1, 2, 3, 4])
    kernels.graphLaunch(graph)
    expect([...view]).toEqual([1, 2, 3, 4])
    kernels.graphLaunch(graph)
    expect([...view]).toEqual([2, 4, 6, 8])
    kernels.graphDestroy(graph)
    kernels.hostFree(pinned.address)
  })

  it('counts the memory it holds', () => {
    const kernels = device()
    const a = kernels.alloc(3_000_000)
    const b = kernels.alloc(1_000_000)
    kernels.free(a)
    kernels.free(b)
    kernels.free(kernels.alloc(1000))
    const { peakBytes, freeBytes, totalBytes } = kernels.memory()
    expect(peakBytes).toBe(4_000_000)
    expect(freeBytes).toBeGreaterThan(0)
    expect(totalBytes).toBeGreaterThan(freeBytes)
  })
})

describe('wrong use of the CPU device', () => {
  const wrong: [string, (kernels: Kernels) => void, string, RegExp][] = [
    [
      'an unknown block size',
      (k) => k.kvStore(k.alloc(4096), k.alloc(4), k.alloc(1e6), 1e5, 24, 1, 1, 1, 64),
      'KN_INVALID_ARGUMENT',
      /block_size is 24/,
    ],
    [
      'a head dimension of 80',
      (k) => k.rope(k.alloc(4096), k.alloc(4), k.alloc(1000), 1, 1, 1, 80),
      'KN_UNSUPPORTED',
      /head_dim is 80/,
    ],
    [
      'a tensor larger than its buffer',
      (k) => k.add(k.alloc(400), k.alloc(396), 1, 100),
      'KN_INVALID_ARGUMENT',
      /in: needs 400 bytes, its buffer ends after 396/,
    ],
    [
      'an address of nothing',
      (k) => k.silu(4096, k.alloc(800), 1, 100),
      'KN_INVALID_ARGUMENT',
      /out: address 4096 is in no buffer/,
    ],
    ['a negative size', (k) => k.add(k.alloc(4), k.alloc(4), -1, 1), 'KN_INVALID_ARGUMENT', /tokens is -1/],
    [
      'a token outside of the vocabulary',
      (k) => k.embedding(k.alloc(64), k.alloc(k.weightBytes(4, 8)), upload(k, Int32Array.of(4)), 1, 4, 8),
      'KN_INVALID_ARGUMENT',
      /ids\[0\] is 4, not in 0\.\.3/,
    ],
    [
      'logits of another type',
      (k) => k.matmul(k.alloc(64), k.alloc(64), k.alloc(k.weightBytes(1, 1)), 0, 1, 1, 1, DTYPE.bf16),
      'KN_UNSUPPORTED',
      /out_dtype is 1/,
    ],
    [
      'a buffer freed twice',
      (k) => {
        const a = k.alloc(8)
        k.free(a)
        k.free(a)
      },
      'KN_INVALID_ARGUMENT',
      /is not the address of a device buffer/,
    ],
    ['a graph that was never made', (k) => k.graphLaunch(99), 'KN_INVALID_ARGUMENT', /graph 99 does not exist/],
    [
      'a recording inside a recording',
      (k) => {
        k.graphBegin()
        k.graphBegin()
      },
      'KN_INVALID_ARGUMENT',
      /being recorded already/,
    ],
    [
      'an event that was never recorded',
      (k) => k.eventElapsedMs(k.eventCreate(), k.eventCreate()),
      'KN_INVALID_ARGUMENT',
      /never recorded/,
    ],
    [
      'more memory than the machine has',
      (k) => {
        k.alloc(2 ** 50)
      },
      'KN_OUT_OF_MEMORY',
      /1125899906842624 bytes.* available/,
    ],
  ]
  for (const [name, use, code, text] of wrong) {
    it(`${name} is refused by name, and the device lives on`, () => {
      const kernels = device()
      expect(() => use(kernels)).toThrow(
        expect.objectContaining({ name: 'KernelError', code, message: expect.stringMatching(text) }),
      )
      const x = upload(kernels, Float32Array.of(1))
      const fresh = device()
      expect(readFloats(kernels, x, 1)).toEqual([1])
      expect(fresh.info.backend).toBe('cpu')
    })
  }

  it('a staging block that contradicts the call is refused', () => {
    const kernels = device()
    const staging = new Int32Array(STEP.header + 5 + 1 + 2 + 1)
    staging[STEP.rows] = 2
    const buffers = Array.from({ length: 7 }, () => kernels.alloc(1024)) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ]
    expect(() => kernels.stepPrepare(upload(kernels, staging), ...buffers, 1, 1, 1, 1, 1, 1, 20, 16, 16)).toThrow(
      /header has 2 rows, 0 tokens/,
    )
  })

  it('unknown options are refused by name', () => {
    expect(() => device({ isa: 'sse9' })).toThrow(/option isa: 'sse9' is not one of auto, avx512bf16/)
    expect(() => device({ fault: 'often' })).toThrow(/option fault: 'often'/)
    expect(() => device({ threads: -2 })).toThrow(/option threads: -2/)
    expect(() => device({ dtype: 'f16' as 'f32' })).toThrow(/option dtype: 'f16'/)
  })
})

describe('injected faults', () => {
  it('the Nth allocation fails with its size, the next one succeeds', () => {
    const kernels = device({ fault: 'alloc:3' })
    kernels.alloc(10)
    kernels.alloc(20)
    expect(() => kernels.alloc(30)).toThrow(
      expect.objectContaining({ code: 'KN_OUT_OF_MEMORY', message: expect.stringContaining('30 bytes') }),
    )
    expect(kernels.alloc(30)).toBeGreaterThan(0)
  })

  it('the Nth operation fails and the device is lost for good, with the first text kept', () => {
    const kernels = device({ fault: 'launch:2' })
    const a = kernels.alloc(16)
    const b = kernels.alloc(16)
    kernels.copy(a, b, 16)
    const lost = expect.objectContaining({
      code: 'KN_LAUNCH_FAILED',
      message: expect.stringContaining('operation 2; the device is lost'),
    })
    expect(() => kernels.copy(a, b, 16)).toThrow(lost)
    expect(() => kernels.copy(a, b, 16)).toThrow(lost)
    expect(() => kernels.alloc(16)).toThrow(lost)
    expect(() => kernels.synchronize()).toThrow(lost)
  })

  it('a replay counts as one operation', () => {
    const kernels = device({ fault: 'launch:2' })
    const a = kernels.alloc(16)
    kernels.graphBegin()
    for (let i = 0; i < 5; i++) kernels.fill(a, i, 16)
    const graph = kernels.graphEnd()
    kernels.graphLaunch(graph)
    expect(() => kernels.graphLaunch(graph)).toThrow(expect.objectContaining({ code: 'KN_LAUNCH_FAILED' }))
  })
})
