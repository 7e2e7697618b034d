import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'

/** Linux /proc readings (proc(5)); null elsewhere or when the process is gone. */
const CLOCK_TICKS_PER_SEC = 100

/** CPU seconds a process used so far, all threads. */
export function processCpuSecs(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SEC
  } catch {
    return null
  }
}

export function processRssBytes(pid: number): number | null {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * 4096
  } catch {
    return null
  }
}

/** Busy and total CPU seconds of the host since boot, all cores. */
export function hostCpuSecs(): { busy: number; total: number } | null {
  try {
    const line = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]!
    const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number)
    const total = ticks.reduce((sum, value) => sum + value, 0)
    const idle = ticks[3]! + ticks[4]!
    return { busy: (total - idle) / CLOCK_TICKS_PER_SEC, total: total / CLOCK_TICKS_PER_SEC }
  } catch {
    return null
  }
}

export function coreCount(): number {
  return cpus().length
}
