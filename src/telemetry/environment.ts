import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { arch, cpus, hostname, platform, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Environment } from '../result/schema.js'

/** The machine and the build, as they go into every result. `ceilings` are filled by whoever measures them. */
export function readEnvironment(): Environment {
  const git = readGit()
  return {
    host: hostname(),
    os: `${platform()} ${release()} ${arch()}`,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    cpuGovernor: readLine('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor'),
    node: process.version,
    benchVersion: benchVersion(),
    gitCommit: git?.commit ?? null,
    gitDirty: git?.dirty ?? null,
    ceilings: null,
  }
}

/** The package root, whether this runs from dist/ or (in tests) from the sources. */
export function packageRoot(): string {
  const here = fileURLToPath(new URL('.', import.meta.url))
  const up = here.includes('/dist/src/') ? '../../..' : '../..'
  return join(here, up)
}

export function benchVersion(): string {
  const text = readFileSync(join(packageRoot(), 'package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/** Is an NVIDIA kernel driver loaded? */
export function hasDriver(): boolean {
  return existsSync('/proc/driver/nvidia/version') || existsSync('/dev/nvidiactl')
}

export function readLine(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return null
  }
}

function readGit(): { commit: string; dirty: boolean } | null {
  const run = (args: string[]) =>
    execFileSync('git', args, { cwd: packageRoot(), encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  try {
    // Inside someone else's repository (node_modules of a project) its commit says nothing of ours.
    if (run(['rev-parse', '--show-prefix']) !== '') return bundledCommit()
    return { commit: run(['rev-parse', 'HEAD']), dirty: run(['status', '--porcelain', '--untracked-files=no']) !== '' }
  } catch {
    return bundledCommit()
  }
}

/** An unpacked bundle has no history; the commit it was made from stands in BUNDLE.json. */
function bundledCommit(): { commit: string; dirty: boolean } | null {
  try {
    const text = readFileSync(join(packageRoot(), 'BUNDLE.json'), 'utf8')
    const { commit, dirty } = JSON.parse(text) as { commit: string; dirty: boolean }
    return { commit, dirty }
  } catch {
    return null
  }
}
