import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildCpu } from './build-cpu.js'
import { buildCuda } from './build-cuda.js'
import { withBuildLock } from './build-lock.js'
import { findNvcc, hasDriver, KernelBuildError } from './toolchain.js'

export { type BuildErrorCode, KernelBuildError } from './toolchain.js'

export interface BuildOptions {
  /** true: build the CUDA library or fail; false: do not; absent: build it when a GPU driver and nvcc are here. */
  cuda?: boolean
  /** Receives progress, one line at a time. Default: stderr. */
  progress?: (line: string) => void
}

export interface BuiltKernels {
  /** Path of libkernels-cpu.so. */
  cpu: string
  /** Path of libkernels-cuda.so, or null. */
  cuda: string | null
  /** Why there is no CUDA library; null when there is one. */
  cudaReason: string | null
}

/**
 * Builds the kernel libraries and the `check` program into build/, or finds them up to date (by the hash of their sources).
 * Throws KernelBuildError: a tool is missing, or the compiler failed.
 */
export async function buildKernels(options: BuildOptions = {}): Promise<BuiltKernels> {
  const root = packageRoot()
  const build = join(root, 'build')
  const sources = join(root, 'kernels')
  const progress = options.progress ?? ((line: string) => process.stderr.write(`${line}\n`))
  mkdirSync(build, { recursive: true })
  const cpu = join(build, 'libkernels-cpu.so')
  if (!existsSync(join(sources, 'kernels.h'))) return prebuilt(build)
  if (!isCurrent(cpu, cpuDigest(sources))) await withBuildLock(build, () => refreshCpu(sources, build, progress))
  return { cpu, ...(await cudaLibrary(root, sources, build, options.cuda, progress)) }
}

/** The folder that holds package.json: one up from kernels/, two up from dist/kernels/. */
export function packageRoot(): string {
  const here = dirname(fileURLToPath(import.meta.url))
  const parent = dirname(here)
  return existsSync(join(parent, 'package.json')) ? parent : dirname(parent)
}

async function refreshCpu(sources: string, build: string, progress: (line: string) => void): Promise<void> {
  const library = join(build, 'libkernels-cpu.so')
  const digest = cpuDigest(sources)
  if (isCurrent(library, digest)) return // another process built it while we waited for the lock
  progress('building the CPU kernels, once (half a minute to two) ...')
  const started = performance.now()
  const made = await buildCpu(sources, join(build, 'cpu'))
  if (existsSync(made.check)) publish(made.check, join(build, 'check'))
  publish(made.library, library)
  writeFileSync(`${library}.stamp`, digest)
  progress(`built ${library} in ${((performance.now() - started) / 1000).toFixed(0)} s`)
}

async function cudaLibrary(
  root: string,
  sources: string,
  build: string,
  wanted: boolean | undefined,
  progress: (line: string) => void,
): Promise<Pick<BuiltKernels, 'cuda' | 'cudaReason'>> {
  const library = join(build, 'libkernels-cuda.so')
  const digest = digestOf(sources, ['.cu', '.cuh', '.h'], 'cuda')
  if (wanted === false) return { cuda: null, cudaReason: 'not asked for' }
  if (isCurrent(library, digest)) return { cuda: library, cudaReason: null }
  if (wanted === undefined && !hasDriver())
    return { cuda: null, cudaReason: 'no NVIDIA driver (libcuda.so.1) on this machine' }
  const nvcc = await findNvcc(root)
  if (!nvcc) {
    const reason =
      'no nvcc on PATH, in CUDA_HOME or in the pip packages (nvidia/cu13): install the CUDA toolkit, or `pip install nvidia-cuda-nvcc nvidia-cuda-runtime nvidia-cuda-cccl`'
    if (wanted) throw new KernelBuildError('nvcc-missing', reason)
    return { cuda: null, cudaReason: reason }
  }
  await withBuildLock(build, async () => {
    if (isCurrent(library, digest)) return
    progress('building the CUDA kernels, once (several minutes) ...')
    const started = performance.now()
    publish(await buildCuda(nvcc, sources, join(build, 'cuda')), library)
    writeFileSync(`${library}.stamp`, digest)
    progress(`built ${library} in ${((performance.now() - started) / 1000).toFixed(0)} s`)
  })
  return { cuda: library, cudaReason: null }
}

/** A bundle carries libraries without their sources. */
function prebuilt(build: string): BuiltKernels {
  const cpu = join(build, 'libkernels-cpu.so')
  const cuda = join(build, 'libkernels-cuda.so')
  if (!existsSync(cpu))
    throw new KernelBuildError('sources-missing', `neither kernel sources nor ${cpu} are in this package`)
  if (existsSync(cuda)) return { cpu, cuda, cudaReason: null }
  return { cpu, cuda: null, cudaReason: 'this package carries no CUDA library' }
}

/** Puts a finished file in place at once: a process that has the old one loaded keeps it. */
function publish(from: string, to: string): void {
  copyFileSync(from, `${to}.new`)
  renameSync(`${to}.new`, to)
}

function isCurrent(library: string, digest: string): boolean {
  const stamp = `${library}.stamp`
  return existsSync(library) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest
}

function cpuDigest(sources: string): string {
  return digestOf(sources, ['.cpp', '.h', 'CMakeLists.txt'], process.arch)
}

/** Hash of the names and contents of the sources, the folder simd/ included. The flags are in them or in `salt`. */
function digestOf(sources: string, endings: readonly string[], salt: string): string {
  const hash = createHash('sha256').update(salt)
  const names = [...readdirSync(sources), ...readdirSync(join(sources, 'simd')).map((name) => join('simd', name))]
  for (const name of names.filter((each) => endings.some((ending) => each.endsWith(ending))).sort()) {
    hash.update(`\n${name}\n`).update(readFileSync(join(sources, name)))
  }
  return hash.digest('hex')
}

async function main(args: readonly string[]): Promise<number> {
  const unknown = args.find((arg) => arg !== '--cuda' && arg !== '--no-cuda')
  if (unknown !== undefined) {
    process.stderr.write(`unknown argument ${unknown}; usage: build.js [--cuda | --no-cuda]\n`)
    return 2
  }
  const options: BuildOptions = args.includes('--cuda')
    ? { cuda: true }
    : args.includes('--no-cuda')
      ? { cuda: false }
      : {}
  try {
    const built = await buildKernels(options)
    process.stdout.write(`cpu:  ${built.cpu}\ncuda: ${built.cuda ?? `none (${built.cudaReason})`}\n`)
    return 0
  } catch (error) {
    if (!(error instanceof KernelBuildError)) throw error
    process.stderr.write(`${error.code}: ${error.message}\n`)
    return 1
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2))
}
