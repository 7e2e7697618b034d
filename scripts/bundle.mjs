#!/usr/bin/env node
// npm run bundle [-- --with-node] [--out FILE]: one archive with everything that `bench` needs on a GPU machine without a network:
// compiled TypeScript, production dependencies for this platform, kernel libraries, scenarios and, with --with-node, Node itself.
// Unpack it anywhere and run ./pagedbench/bench.
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const { values: flags } = parseArgs({
  options: {
    'with-node': { type: 'boolean' },
    out: { type: 'string', default: 'pagedbench.tar.xz' },
    'no-archive': { type: 'boolean' },
    'no-build': { type: 'boolean' },
  },
})
const stage = join(root, 'bundle', 'pagedbench')

if (!flags['no-build']) {
  step('compiling TypeScript', () => run('node', ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json']))
  step('building kernels (CUDA too when nvcc is found)', () => run('node', ['dist/kernels/build.js', '--cuda-if-possible'], true))
}
rmSync(stage, { recursive: true, force: true })
mkdirSync(join(stage, 'build'), { recursive: true })
step('copying', () => {
  for (const name of ['bench', 'package.json', 'scripts/gpu.sh', 'test/peers/transformers.py', 'scenarios', 'README.md', 'LICENSE'])
    if (existsSync(join(root, name))) cpSync(join(root, name), join(stage, name), { recursive: true })
  cpSync(join(root, 'test', 'gpu'), join(stage, 'test', 'gpu'), { recursive: true, filter: (path) => !path.endsWith('__pycache__') })
  cpSync(join(root, 'dist'), join(stage, 'dist'), { recursive: true, filter: (path) => !/\.(map|tsbuildinfo)$/.test(path) })
  for (const name of ['libkernels-cpu.so', 'libkernels-cuda.so', 'check'])
    if (existsSync(join(root, 'build', name))) cpSync(join(root, 'build', name), join(stage, 'build', name))
  for (const path of productionPackages()) copyPackage(path)
  copyAssets()
})
if (flags['with-node']) {
  mkdirSync(join(stage, 'runtime'))
  cpSync(process.execPath, join(stage, 'runtime', 'node'))
  chmodSync(join(stage, 'runtime', 'node'), 0o755)
}
writeFileSync(join(stage, 'BUNDLE.json'), `${JSON.stringify({ ...commit(), node: process.version, platform: process.platform, arch: process.arch }, null, 2)}\n`)
if (!flags['no-archive']) {
  step('packing', () => run('tar', ['-C', join(root, 'bundle'), '-cJf', flags.out, 'pagedbench']))
  process.stderr.write(`bundle: ${flags.out}, ${(statSync(join(root, flags.out)).size / 2 ** 20).toFixed(1)} MiB. Unpack it and run ./pagedbench/bench\n`)
}

/** Folders of the production dependencies, as npm resolves them here. */
function productionPackages() {
  return execFileSync('npm', ['ls', '--omit=dev', '--all', '--parseable'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    .split('\n')
    .filter((path) => path.includes('node_modules'))
}

/** Without what only people read, and without the binaries of other platforms. */
function copyPackage(path) {
  cpSync(path, join(stage, relative(root, path)), {
    recursive: true,
    filter: (file) => {
      if (file !== path && basename(file) === 'node_modules') return false
      if (/\.(map|md|markdown|ts|mts|cts|flow|c|cc|cpp|h|inc|S|asm)$/i.test(file) && !/\/LICENSE/i.test(file)) return false
      return !(dirname(file) === path && /^(tests?|docs?|examples?|benchmarks?|\.github|vendor)$/.test(basename(file)))
    },
  })
}

/** Files beside the sources that compiled code reads (page.css, page script). */
function copyAssets() {
  const assets = execFileSync('git', ['ls-files', 'reports', 'src', 'engines', 'kernels'], { cwd: root, encoding: 'utf8' })
    .split('\n')
    .filter((path) => path && !/\.(ts|cpp|cu|cuh|h|c|txt)$/.test(path))
  for (const path of assets) cpSync(join(root, path), join(stage, path))
}

function commit() {
  const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()
  try {
    return { commit: git('rev-parse', 'HEAD'), dirty: git('status', '--porcelain', '--untracked-files=no') !== '' }
  } catch {
    return { commit: null, dirty: null }
  }
}

function step(name, body) {
  process.stderr.write(`bundle: ${name} ...\n`)
  body()
}

function run(command, args, optional = false) {
  try {
    execFileSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
  } catch (error) {
    if (!optional) throw error
    process.stderr.write(`bundle: ${command} ${args.join(' ')} failed; going on without\n`)
  }
}
