import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, realpathSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'

export type BuildErrorCode = 'compiler-missing' | 'nvcc-missing' | 'sources-missing' | 'compile-failed' | 'build-locked'

/** The kernels could not be built. `message` names what is missing and how to get it; `output` is the tool's own text. */
export class KernelBuildError extends Error {
  constructor(
    readonly code: BuildErrorCode,
    message: string,
    readonly output: string = '',
  ) {
    super(message)
    this.name = 'KernelBuildError'
  }
}

export interface Nvcc {
  path: string
  /** Library folder of a pip install, which has no lib64; null: nvcc knows its own. */
  libraryPath: string | null
}

/** The first of `names` that is an executable on PATH, or null. */
export function findOnPath(...names: string[]): string | null {
  for (const name of names) {
    for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
      if (folder !== '' && isExecutable(join(folder, name))) return join(folder, name)
    }
  }
  return null
}

/** A C++ compiler: $CXX, then the usual names. */
export function findCompiler(): string | null {
  const named = process.env['CXX']
  if (named) return isExecutable(named) ? named : findOnPath(named)
  return findOnPath('c++', 'g++', 'clang++')
}

/** nvcc on PATH, in CUDA_HOME, or in the pip packages' nvidia/cu13 (the package's own .cuda, then python3's). */
export async function findNvcc(packageRoot: string): Promise<Nvcc | null> {
  const onPath = findOnPath('nvcc')
  if (onPath) return nvccOf(dirname(dirname(realpathSync(onPath))))
  const home = process.env['CUDA_HOME']
  if (home && isExecutable(join(home, 'bin', 'nvcc'))) return nvccOf(home)
  for (const folder of [...ownSitePackages(packageRoot), ...(await pythonSitePackages())]) {
    const root = join(folder, 'nvidia', 'cu13')
    if (isExecutable(join(root, 'bin', 'nvcc'))) return nvccOf(root)
  }
  return null
}

function nvccOf(root: string): Nvcc {
  const bare = !existsSync(join(root, 'lib64')) && existsSync(join(root, 'lib'))
  return { path: join(root, 'bin', 'nvcc'), libraryPath: bare ? join(root, 'lib') : null }
}

/** True when the NVIDIA driver's library is installed: then CUDA kernels are worth building. */
export function hasDriver(): boolean {
  const folders = [
    '/usr/lib/x86_64-linux-gnu',
    '/usr/lib/aarch64-linux-gnu',
    '/usr/lib64',
    '/usr/lib',
    '/usr/lib/wsl/lib',
  ]
  folders.push(...(process.env['LD_LIBRARY_PATH'] ?? '').split(delimiter).filter((folder) => folder !== ''))
  return folders.some((folder) => existsSync(join(folder, 'libcuda.so.1')))
}

/** Runs a tool to its end. Throws KernelBuildError 'compile-failed' with the end of its output. */
export async function runTool(command: string, args: readonly string[], what: string): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  const collect = (part: Buffer) => {
    output = (output + part.toString('utf8')).slice(-200_000)
  }
  child.stdout.on('data', collect)
  child.stderr.on('data', collect)
  const code = await new Promise<number | string | null>((resolve) => {
    child.on('error', (error) => resolve(error.message))
    child.on('close', (status, signal) => resolve(status ?? signal))
  })
  if (code === 0) return output
  const tail = output.trimEnd().split('\n').slice(-30).join('\n')
  throw new KernelBuildError('compile-failed', `${what} failed (${command}: ${code})\n${tail}`, output)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function ownSitePackages(packageRoot: string): string[] {
  const lib = join(packageRoot, '.cuda', 'lib')
  if (!existsSync(lib)) return []
  return readdirSync(lib).map((python) => join(lib, python, 'site-packages'))
}

async function pythonSitePackages(): Promise<string[]> {
  const python = findOnPath('python3')
  if (!python) return []
  const program = 'import site; print("\\n".join([*site.getsitepackages(), site.getusersitepackages()]))'
  try {
    const output = await runTool(python, ['-c', program], 'asking python3 for its packages')
    return output.split('\n').filter((line) => line !== '')
  } catch {
    return [] // a broken python3 only means that there are no packages to look in
  }
}
