import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { buildKernels, packageRoot } from '../../kernels/build.js'
import { buildCpu, ISA_FLAGS } from '../../kernels/build-cpu.js'
import { withBuildLock } from '../../kernels/build-lock.js'
import { findNvcc, runTool } from '../../kernels/toolchain.js'

const BUILD_MS = 600_000
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pagedbench-build-'))
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true, force: true })
})

describe('building the kernels', () => {
  it('leaves a library and check in build/, and does nothing the second time', { timeout: BUILD_MS }, async () => {
    const built = await buildKernels({ cuda: false })
    expect(existsSync(built.cpu)).toBe(true)
    expect(existsSync(join(packageRoot(), 'build', 'check'))).toBe(true)
    expect(built).toMatchObject({ cuda: null, cudaReason: 'not asked for' })
    const lines: string[] = []
    await buildKernels({ cuda: false, progress: (line) => lines.push(line) })
    expect(lines).toEqual([])
  })

  it('gives the compiler the same flags for each instruction set with cmake and without', () => {
    const cmake = readFileSync(join(packageRoot(), 'kernels', 'CMakeLists.txt'), 'utf8')
    const found = [...cmake.matchAll(/^\s*add_isa\((\w+) ?([^)]*)\)/gm)].map(([, isa, flags]) => [
      isa,
      flags!.split(' ').filter((flag) => flag !== ''),
    ])
    expect(Object.fromEntries(found)).toEqual(ISA_FLAGS)
    expect(JSON.stringify(ISA_FLAGS)).not.toContain('native')
  })

  it('names the missing compiler and its fix', async () => {
    vi.stubEnv('PATH', folder)
    vi.stubEnv('CXX', '')
    await expect(buildCpu(join(packageRoot(), 'kernels'), folder)).rejects.toMatchObject({
      name: 'KernelBuildError',
      code: 'compiler-missing',
      message: expect.stringContaining('apt install g++'),
    })
  })

  it('finds no nvcc where there is none, and a pip installation in .cuda', async () => {
    vi.stubEnv('PATH', folder)
    vi.stubEnv('CUDA_HOME', '')
    expect(await findNvcc(folder)).toBeNull()
    const root = join(folder, '.cuda', 'lib', 'python3.11', 'site-packages', 'nvidia', 'cu13')
    mkdirSync(join(root, 'bin'), { recursive: true })
    mkdirSync(join(root, 'lib')) // pip packages have no lib64, where nvcc looks by itself
    writeFileSync(join(root, 'bin', 'nvcc'), '#!/bin/sh\n', { mode: 0o755 })
    expect(await findNvcc(folder)).toEqual({ path: join(root, 'bin', 'nvcc'), libraryPath: join(root, 'lib') })
    mkdirSync(join(root, 'lib64'))
    vi.stubEnv('CUDA_HOME', root)
    expect(await findNvcc(join(folder, 'elsewhere'))).toEqual({ path: join(root, 'bin', 'nvcc'), libraryPath: null })
  })

  it("ends with the compiler's own words when a source is wrong", async () => {
    const source = join(folder, 'wrong.cpp')
    writeFileSync(source, 'int main() { return nothing; }\n')
    await expect(
      runTool('c++', ['-c', source, '-o', join(folder, 'wrong.o')], 'compiling wrong.cpp'),
    ).rejects.toMatchObject({
      code: 'compile-failed',
      message: expect.stringMatching(/compiling wrong\.cpp failed[\s\S]*nothing/),
    })
  })
})

describe('the build lock', () => {
  it('lets one builder in at a time', async () => {
    const order: string[] = []
    const builder = (name: string) =>
      withBuildLock(folder, async () => {
        order.push(`${name} in`)
        await new Promise((resolve) => setTimeout(resolve, 30))
        order.push(`${name} out`)
      })
    await Promise.all([builder('a'), builder('b')])
    expect(order.map((entry) => entry.split(' ')[1])).toEqual(['in', 'out', 'in', 'out'])
    expect(existsSync(join(folder, 'lock'))).toBe(false)
  })

  it('is taken over from a process that died', async () => {
    mkdirSync(join(folder, 'lock'))
    writeFileSync(join(folder, 'lock', 'pid'), '4194305') // above the largest pid that Linux gives
    expect(await withBuildLock(folder, async () => 'built')).toBe('built')
  })

  it('is given back when the build fails', async () => {
    await expect(withBuildLock(folder, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await withBuildLock(folder, async () => 'built')).toBe('built')
  })
})
