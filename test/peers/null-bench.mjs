// What the modes of other-tools.mjs share: a null server on a core of its own, a run of ours against it, and what both took.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { runLoad } from '../../dist/src/load/generator.js'
import { startNullServer } from '../../dist/src/load/null-process.js'
import { parseScenario } from '../../dist/src/scenario/parse.js'
import { makePlan } from '../../dist/src/scenario/plan.js'

export const CORES = { server: 0, client: 1 }
export const MODEL = 'null-model'

/** Pins this process, all of its threads, to the client's core. */
export function pinClient() {
  execFileSync('taskset', ['-acp', String(CORES.client), String(process.pid)])
}

/** Runs `use` against a null server; gives the server's traces, its CPU time and what `use` gave. */
export async function onServer(schedule, use) {
  const server = await startNullServer(schedule)
  execFileSync('taskset', ['-acp', String(CORES.server), String(server.pid)])
  const before = cpuMicros(server.pid)
  try {
    const value = await use(server)
    const serverCpuMicros = cpuMicros(server.pid) - before
    return { traces: await server.takeTraces(), value, serverCpuMicros }
  } finally {
    server.close()
  }
}

/** One closed-loop run of ours with one client thread. */
export async function oneRun(server, { concurrency, requests, output, warmup = 0, staggerMs = null }) {
  const stagger = staggerMs === null ? '' : `, stagger: ${staggerMs}ms`
  const load = `[{phase: warmup, requests: ${warmup}}, {concurrency: ${concurrency}, requests: ${requests}${stagger}}]`
  const scenario = parseScenario(`workload: {input: 32, output: ${output}}\nload: ${load}\n`, 'null-bench')
  const plan = await makePlan(scenario, { vocabSize: 32_000 })
  const target = { baseUrl: server.url, apiKey: null, api: 'completions', model: MODEL }
  return { ...(await runLoad({ plan, scenario, workers: 1, target })), scenario }
}

/** Health of the threads that had streams: us of CPU a token, p99 of the loop's delay, garbage-collection pauses. */
export function clientHealth(run, tokens) {
  const health = run.health.filter((worker) => worker.socketsOpened > 0)
  const worst = (pick) => Math.max(...health.map(pick))
  return {
    clientCpuMicrosPerToken: round((1e6 * health.reduce((sum, one) => sum + one.cpuSecs, 0)) / tokens),
    loopUtilization: round(worst((one) => one.eventLoopUtilization)),
    loopDelayP50Ms: round(worst((one) => one.eventLoopDelayP50Ms)),
    loopDelayP99Ms: round(worst((one) => one.eventLoopDelayP99Ms)),
    loopDelayMaxMs: round(worst((one) => one.eventLoopDelayMaxMs)),
    gcPauseMaxMs: round(worst((one) => one.gcPauseMaxMs)),
  }
}

export function failures(records) {
  return records.filter((record) => record.outcome !== 'ok').length
}

export function round(value) {
  return value === null || value === undefined ? null : Number(value.toFixed(3))
}

/** User and system time of a process so far, us, from its /proc stat line (ticks of 10 ms). */
function cpuMicros(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 1e4
}
