import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { type Nvcc, runTool } from './toolchain.js'

const ARCHITECTURES = ['80', '86', '89', '90a']
const FLAGS = ['-std=c++17', '-O3', '--expt-relaxed-constexpr', '-Xcompiler', '-fPIC,-fvisibility=hidden']

/** Compiles kernels/*.cu one by one (only what changed), links them, and returns the library in `folder`. */
export async function buildCuda(nvcc: Nvcc, sources: string, folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true })
  const files = readdirSync(sources)
  const headers = files
    .filter((file) => file.endsWith('.cuh') || file.endsWith('.h'))
    .map((file) => join(sources, file))
  const queue = files.filter((file) => file.endsWith('.cu')).sort()
  const objects = queue.map((file) => join(folder, `${file}.o`))
  const worker = async () => {
    for (let file = queue.pop(); file; file = queue.pop())
      await compile(nvcc, join(sources, file), headers, join(folder, `${file}.o`))
  }
  // nvcc's own memory grows with the architectures: never more than a few at once.
  await Promise.all(Array.from({ length: Math.min(8, Math.max(2, availableParallelism())) }, worker))
  const library = join(folder, 'libkernels-cuda.so')
  const search = nvcc.libraryPath ? ['-L', nvcc.libraryPath] : []
  await runTool(
    nvcc.path,
    [
      '-shared',
      '-cudart',
      'static',
      '-Xlinker',
      '--exclude-libs=ALL',
      ...gencode(),
      '-o',
      library,
      ...objects,
      ...search,
      '-ldl',
      '-lpthread',
    ],
    'linking the CUDA kernels',
  )
  return library
}

/** One code object for each architecture, in one library. */
export function gencode(): string[] {
  return ARCHITECTURES.flatMap((architecture) => ['-gencode', `arch=compute_${architecture},code=sm_${architecture}`])
}

async function compile(nvcc: Nvcc, source: string, headers: readonly string[], object: string): Promise<void> {
  const args = [...FLAGS, ...gencode()]
  const hash = createHash('sha256').update(args.join(' '))
  for (const file of [source, ...headers]) hash.update(readFileSync(file))
  const stamp = `${object}.stamp`
  const digest = hash.digest('hex')
  if (existsSync(object) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return
  rmSync(stamp, { force: true })
  await runTool(nvcc.path, [...args, '-c', source, '-o', object], `compiling ${source}`)
  writeFileSync(stamp, digest)
}
