import { mkdirSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, join } from 'node:path'
import { findCompiler, findOnPath, KernelBuildError, runTool } from './toolchain.js'

/** The instruction sets of simd/ and their flags, as CMakeLists.txt has them (test/kernels/build.test.ts holds the two equal). */
export const ISA_FLAGS: Record<string, readonly string[]> = {
  portable: [],
  avx2: ['-mavx2', '-mfma'],
  avx512: ['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mfma', '-mprefer-vector-width=512'],
  avx512bf16: [
    ...['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mavx512bf16', '-mfma'],
    '-mprefer-vector-width=512',
  ],
}

const COMMON_FLAGS = ['-std=gnu++20', '-O3', '-fPIC', '-fvisibility=hidden']
const INNER_FLAGS = [
  '-Wno-psabi',
  '-Wno-maybe-uninitialized',
  '-Wno-uninitialized',
  '-ffp-contract=off',
  '-fno-math-errno',
]
const LINK_FLAGS = ['-static-libstdc++', '-static-libgcc', '-Wl,--exclude-libs,ALL', '-pthread']

export interface CpuBuild {
  /** Files just made, still in the work folder. */
  library: string
  check: string
}

/** Compiles the CPU library and `check` in `folder`: with cmake when there is one, else by calling the compiler. */
export async function buildCpu(sources: string, folder: string): Promise<CpuBuild> {
  if (findCompiler() === null) {
    throw new KernelBuildError(
      'compiler-missing',
      'no C++ compiler (c++, g++ or clang++): install g++ 11 or newer, for example `apt install g++`',
    )
  }
  mkdirSync(folder, { recursive: true })
  const cmake = findOnPath('cmake')
  if (cmake) await buildWithCmake(cmake, sources, folder)
  else await buildDirectly(sources, folder)
  return { library: join(folder, 'libkernels-cpu.so'), check: join(folder, 'check') }
}

async function buildWithCmake(cmake: string, sources: string, folder: string): Promise<void> {
  await runTool(cmake, ['-S', sources, '-B', folder], 'configuring the CPU kernels')
  await runTool(cmake, ['--build', folder, '--parallel', String(availableParallelism())], 'compiling the CPU kernels')
}

interface Unit {
  source: string
  object: string
  flags: readonly string[]
}

async function buildDirectly(sources: string, folder: string): Promise<void> {
  const compiler = findCompiler()!
  const files = readdirSync(sources).filter((file) => file.endsWith('.cpp'))
  const unit = (source: string, name: string, flags: readonly string[]): Unit => ({
    source,
    object: join(folder, `${name}.o`),
    flags: [...COMMON_FLAGS, ...flags],
  })
  const operations = files
    .filter((file) => !file.startsWith('check'))
    .map((file) => unit(join(sources, file), file, []))
  const checks = files.filter((file) => file.startsWith('check')).map((file) => unit(join(sources, file), file, []))
  const isas = process.arch === 'x64' ? Object.keys(ISA_FLAGS) : ['portable']
  const inner = readdirSync(join(sources, 'simd'))
    .filter((file) => file.endsWith('.cpp'))
    .flatMap((file) =>
      isas.map((isa) =>
        unit(join(sources, 'simd', file), `${isa}-${basename(file)}`, [
          ...INNER_FLAGS,
          ...ISA_FLAGS[isa]!,
          `-DKN_ISA=${isa}`,
          `-I${sources}`,
        ]),
      ),
    )
  await compileAll(compiler, [...operations, ...checks, ...inner])
  const objects = (units: Unit[]) => units.map((each) => each.object)
  const library = join(folder, 'libkernels-cpu.so')
  await runTool(
    compiler,
    ['-shared', '-o', library, ...objects([...operations, ...inner]), ...LINK_FLAGS],
    'linking the CPU kernels',
  )
  await runTool(compiler, ['-o', join(folder, 'check'), ...objects(checks), ...LINK_FLAGS, '-ldl'], 'linking check')
}

async function compileAll(compiler: string, units: readonly Unit[]): Promise<void> {
  const queue = [...units]
  const worker = async () => {
    for (let next = queue.pop(); next; next = queue.pop()) {
      await runTool(
        compiler,
        [...next.flags, '-c', next.source, '-o', next.object],
        `compiling ${basename(next.source)}`,
      )
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
}
