import { execFile } from 'node:child_process'
import { existsSync, statfsSync } from 'node:fs'
import { cpus, freemem, totalmem } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { hasDriver, packageRoot, readLine } from '../telemetry/environment.js'
import { Gpm } from '../telemetry/gpm.js'
import { Nvml, NvmlUnavailable } from '../telemetry/nvml.js'
import { throttleNames } from '../telemetry/throttle.js'

/** One finding: what was looked at, what was seen, and for WARN and FAIL the fix. */
export interface Finding {
  group: 'host' | 'build' | 'gpu' | 'target'
  name: string
  state: 'OK' | 'WARN' | 'FAIL' | 'NONE'
  seen: string
  fix: string | null
}

const run = promisify(execFile)

/** `bench doctor`: everything the harness needs on this machine, what is missing, and the fix for each. Exit 3 when a line is FAIL. */
export async function diagnose(target: string | null): Promise<Finding[]> {
  return [
    ...hostFindings(),
    await eventLoopFinding(),
    await compilerFinding(),
    await toolFinding('cmake', ['--version'], 'the C++ compiler is called directly instead'),
    await nvccFinding(),
    ...buildFindings(),
    ...gpuFindings(),
    ...(target === null ? [] : [await targetFinding(target)]),
  ]
}

export function renderFindings(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map((finding) => finding.name.length))
  const lines: string[] = []
  let group = ''
  for (const finding of findings) {
    if (finding.group !== group) {
      group = finding.group
      lines.push('', group)
    }
    lines.push(`  ${finding.state.padEnd(4)}  ${finding.name.padEnd(width)}  ${finding.seen}`)
    if (finding.fix !== null && finding.state !== 'OK') lines.push(`  ${' '.repeat(width + 8)}fix: ${finding.fix}`)
  }
  return lines.slice(1).join('\n')
}

function hostFindings(): Finding[] {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const nodeOk = major > 20 || (major === 20 && minor >= 19)
  const files = openFilesLimit()
  const governor = readLine('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor')
  const clock = readLine('/sys/devices/system/clocksource/clocksource0/current_clocksource')
  const disk = statfsSync(packageRoot())
  const freeDisk = disk.bavail * disk.bsize
  return [
    finding('host', 'Node', nodeOk ? 'OK' : 'FAIL', process.version, 'install Node 20.19 or newer'),
    finding(
      'host',
      'cores',
      cpus().length >= 2 ? 'OK' : 'WARN',
      `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'unknown'}`,
      'client and engine share one core: latencies will be the client’s; use 2 or more',
    ),
    finding(
      'host',
      'memory',
      freemem() > 2e9 ? 'OK' : 'WARN',
      `${gib(freemem())} free of ${gib(totalmem())}`,
      'free at least 2 GiB',
    ),
    finding(
      'host',
      'disk',
      freeDisk > 1e9 ? 'OK' : 'WARN',
      `${gib(freeDisk)} free`,
      'free at least 1 GiB for models and results',
    ),
    finding(
      'host',
      'open files',
      files === null || files >= 4096 ? 'OK' : 'WARN',
      files === null ? 'unknown' : `limit ${files}`,
      'ulimit -n 65536 (each stream is a socket)',
    ),
    finding(
      'host',
      'clock source',
      clock === null || /tsc|kvm-clock|arch_sys_counter|hyperv/.test(clock) ? 'OK' : 'WARN',
      clock ?? 'unknown',
      'a slow clock source adds to every timestamp; prefer tsc',
    ),
    finding(
      'host',
      'CPU governor',
      governor === null || governor === 'performance' ? 'OK' : 'WARN',
      governor ?? 'not exposed',
      'cpupower frequency-set -g performance',
    ),
  ]
}

/** How late a 1 ms timer fires here: the floor of any client-side latency. */
async function eventLoopFinding(): Promise<Finding> {
  const lags: number[] = []
  for (let tick = 0; tick < 100; tick++) {
    const start = performance.now()
    await new Promise((resolve) => setTimeout(resolve, 1))
    lags.push(performance.now() - start - 1)
  }
  lags.sort((a, b) => a - b)
  const p99 = lags[98]!
  return finding(
    'host',
    'timer lag',
    p99 < 10 ? 'OK' : 'WARN',
    `p50 ${lags[49]!.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`,
    'the machine is busy: stop other work',
  )
}

async function compilerFinding(): Promise<Finding> {
  for (const compiler of [process.env['CXX'], 'c++', 'g++', 'clang++'].filter((name): name is string =>
    Boolean(name),
  )) {
    const version = await firstLine(compiler, ['--version'])
    if (version !== null) return finding('build', 'C++ compiler', 'OK', version, null)
  }
  return finding('build', 'C++ compiler', 'FAIL', 'none found', 'apt-get install g++ (or set CXX)')
}

async function toolFinding(name: string, args: string[], without: string): Promise<Finding> {
  const version = await firstLine(name, args)
  return finding(
    'build',
    name,
    version === null ? 'WARN' : 'OK',
    version ?? `not found: ${without}`,
    `apt-get install ${name}`,
  )
}

async function nvccFinding(): Promise<Finding> {
  const candidates = [
    'nvcc',
    process.env['CUDA_HOME'] ? join(process.env['CUDA_HOME'], 'bin/nvcc') : '',
    '/usr/local/cuda/bin/nvcc',
  ]
  for (const candidate of candidates.filter(Boolean)) {
    const version = await firstLine(candidate, ['--version'], /release.*/)
    if (version !== null) return finding('build', 'nvcc', 'OK', version, null)
  }
  const state = hasDriver() ? 'WARN' : 'NONE'
  return finding(
    'build',
    'nvcc',
    state,
    'not found: only the CPU kernels are built from source',
    'python3 -m venv .cuda && .cuda/bin/pip install "cuda-toolkit[nvcc,cudart,cccl]==13.0.*"',
  )
}

function buildFindings(): Finding[] {
  const root = packageRoot()
  return ['cpu', 'cuda'].map((backend) => {
    const path = join(root, 'build', `libkernels-${backend}.so`)
    const present = existsSync(path)
    const needed = backend === 'cpu' || hasDriver()
    return finding(
      'build',
      `${backend} kernels`,
      present ? 'OK' : needed ? 'WARN' : 'NONE',
      present ? path : needed ? 'not built yet: built on first use' : 'not built, and no GPU here',
      backend === 'cpu' ? 'npm run kernels' : 'npm run kernels -- --cuda',
    )
  })
}

function gpuFindings(): Finding[] {
  let nvml: Nvml
  try {
    nvml = Nvml.open()
  } catch (error) {
    if (!(error instanceof NvmlUnavailable)) throw error
    return [finding('gpu', 'NVML', 'NONE', `no GPU telemetry: ${error.reason}`, error.fix)]
  }
  const findings = nvml.handles().flatMap((handle) => {
    const identity = nvml.identity(handle)
    const absent: Record<string, string> = {}
    const reading = nvml.read(handle, absent)
    const gpm = Gpm.open(nvml, handle, absent)
    gpm?.close()
    const processes = nvml.computeProcesses(handle, absent)
    const reasons = throttleNames(reading.throttleReasons ?? 0)
    return [
      finding(
        'gpu',
        'card',
        'OK',
        `${identity.name}, ${gib(identity.memoryTotalBytes ?? 0)}, driver ${identity.driver}, NVML ${identity.nvml}, ${identity.pciBusId}`,
        null,
      ),
      finding(
        'gpu',
        'NVML fields',
        Object.keys(absent).length === 0 ? 'OK' : 'WARN',
        Object.keys(absent).length === 0
          ? 'all readable, GPM included'
          : Object.entries(absent)
              .map(([field, why]) => `${field}: ${why}`)
              .join('; '),
        'these fields stay empty in reports, with this reason',
      ),
      finding(
        'gpu',
        'clocks',
        reasons.length === 0 ? 'OK' : 'WARN',
        `SM ${reading.smClockMhz ?? '-'} of ${identity.maxSmClockMhz ?? '-'} MHz${reasons.length ? `, held back by ${reasons.join(', ')}` : ''}`,
        'check cooling and the power limit',
      ),
      finding(
        'gpu',
        'other processes',
        !processes || processes.length === 0 ? 'OK' : 'WARN',
        processes === null ? 'not readable' : `${processes.length} on the card`,
        'stop them before measuring',
      ),
    ]
  })
  nvml.close()
  return findings
}

async function targetFinding(url: string): Promise<Finding> {
  try {
    const response = await fetch(`${url.replace(/\/+$/, '')}/models`, {
      signal: AbortSignal.timeout(5000),
      redirect: 'manual',
    })
    const body = (await response.json()) as { data?: { id?: string }[] }
    const models = (body.data ?? []).map((model) => model.id).join(', ')
    return finding(
      'target',
      url,
      response.ok && models ? 'OK' : 'FAIL',
      `HTTP ${response.status}, models: ${models || 'none'}`,
      'the URL must end in /v1 of an OpenAI-compatible server',
    )
  } catch (error) {
    return finding(
      'target',
      url,
      'FAIL',
      error instanceof Error ? error.message : String(error),
      'is the server up, and does the URL end in /v1?',
    )
  }
}

function openFilesLimit(): number | null {
  const line = readLine('/proc/self/limits')
    ?.split('\n')
    .find((entry) => entry.startsWith('Max open files'))
  return line === undefined ? null : Number(line.trim().split(/\s{2,}/)[1])
}

async function firstLine(command: string, args: string[], pattern = /.+/): Promise<string | null> {
  try {
    const { stdout } = await run(command, args, { timeout: 10_000 })
    return stdout.match(pattern)?.[0]?.trim() ?? null
  } catch {
    return null
  }
}

function finding(
  group: Finding['group'],
  name: string,
  state: Finding['state'],
  seen: string,
  fix: string | null,
): Finding {
  return { group, name, state, seen, fix }
}

function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`
}
