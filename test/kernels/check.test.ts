import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Kernels } from '../../kernels/binding.js'
import { buildKernels, packageRoot } from '../../kernels/build.js'
import { findCompiler, runTool } from '../../kernels/toolchain.js'

const BUILD_MS = 600_000
const RUN_MS = 120_000
const check = join(packageRoot(), 'build', 'check')
let library: string
let folder: string

beforeAll(async () => {
  library = (await buildKernels({ cuda: false })).cpu
  folder = mkdtempSync(join(tmpdir(), 'pagedbench-check-'))
}, BUILD_MS)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function run(args: readonly string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(check, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (part: Buffer) => {
      output += part.toString()
    })
    child.stderr.on('data', (part: Buffer) => {
      output += part.toString()
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, output }))
  })
}

function supports(isa: string): boolean {
  try {
    new Kernels(library, { dtype: 'bf16', isa, threads: 1 }).destroy()
    return true
  } catch {
    return false
  }
}

describe('check, over every operation of the CPU library', () => {
  for (const isa of ['avx512bf16', 'avx512', 'avx2', 'portable']) {
    for (const dtype of ['bf16', 'f32']) {
      it(`is within tolerance with ${isa} and ${dtype}`, { timeout: RUN_MS }, async (context) => {
        if (!supports(isa)) context.skip(`this processor has no ${isa}`)
        const seed = String(Math.floor(Math.random() * 1e9))
        const { code, output } = await run([
          '--library',
          library,
          '--isa',
          isa,
          '--dtype',
          dtype,
          '--quick',
          '--seed',
          seed,
        ])
        expect(output, `seed ${seed}`).toContain('all within tolerance')
        expect(code).toBe(0)
      })
    }
  }

  it('gives the same bits with one thread, with three and with more than there are cores', {
    timeout: RUN_MS,
  }, async () => {
    for (const threads of ['1', '3', '7']) {
      expect((await run(['--library', library, '--quick', '--threads', threads, '--op', 'attention_bits'])).code).toBe(
        0,
      )
      expect((await run(['--library', library, '--quick', '--threads', threads, '--op', 'matmul_bits'])).code).toBe(0)
    }
  })

  it('writes its tally as JSON', async () => {
    const json = join(folder, 'tally.json')
    expect((await run(['--library', library, '--quick', '--op', 'rmsnorm', '--json', json])).code).toBe(0)
    const tally = JSON.parse(readFileSync(json, 'utf8')) as {
      schema: number
      ops: { op: string; cases: number; failures: number }[]
    }
    expect(tally.schema).toBe(1)
    expect(tally.ops).toEqual([expect.objectContaining({ op: 'rmsnorm', failures: 0 })])
    expect(tally.ops[0]!.cases).toBeGreaterThan(5)
  })

  it('refuses what it cannot do with exit code 2', async () => {
    expect(await run(['--library', join(folder, 'absent.so')])).toMatchObject({
      code: 2,
      output: expect.stringContaining('absent.so'),
    })
    expect(await run(['--library', library, '--op', 'softmax'])).toMatchObject({
      code: 2,
      output: expect.stringContaining('softmax'),
    })
    expect(await run(['--library', library, '--isa', 'sse9'])).toMatchObject({
      code: 2,
      output: expect.stringContaining("'sse9' is not one of"),
    })
    expect((await run(['--colour'])).code).toBe(2)
  })
})

describe('check, given a library with one fault', () => {
  const faults: [number, string, string, RegExp][] = [
    [1, 'one element off by 0.1 %', 'rmsnorm', /FAILED: .*out\[\d+\] is/],
    [2, 'a row that is not written', 'silu_mul', /is -?nan/],
    [3, 'a write behind the output', 'gather_rows', /memory around buffer 0 was written/],
    [4, 'one key too few', 'attention', /out\[\d+\] is/],
    [5, 'a row that depends on the batch, by one bit', 'matmul_bits', /differ from the whole batch/],
    [6, 'a neighbouring token', 'sample', /token of sample\[\d+\] is/],
  ]
  for (const [fault, name, op, message] of faults) {
    it(`finds ${name}`, { timeout: RUN_MS }, async () => {
      const shim = join(folder, `fault-${fault}.so`)
      const source = fileURLToPath(new URL('shim.cpp', import.meta.url))
      const flags = [
        '-std=c++17',
        '-shared',
        '-fPIC',
        '-Wl,--no-as-needed',
        `-Wl,-rpath,${join(packageRoot(), 'build')}`,
        `-DFAULT=${fault}`,
        `-DREAL_LIBRARY="${library}"`,
        '-I',
        join(packageRoot(), 'kernels'),
      ]
      await runTool(findCompiler()!, [...flags, source, '-o', shim, library, '-ldl'], 'compiling the faulty library')
      const { code, output } = await run(['--library', shim, '--quick', '--dtype', 'f32', '--op', op])
      expect(code).toBe(1)
      expect(output).toMatch(message)
    })
  }
})
