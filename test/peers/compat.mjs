// What the other tools print, checked from two sides (modes of other-tools.mjs):
// same-events  each tool's own events of one run, our column computed from them, beside what the tool printed: must agree within its rounding.
// compat       one recorded set of streams played to every client, 1 and 4 at a time: what each prints beside what the server did.
import { execFileSync } from 'node:child_process'
import { cpSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runLoad } from '../../dist/src/load/generator.js'
import { toolColumn } from '../../dist/src/metrics/compatibility.js'
import { checkFigures, figuresOf } from '../../dist/src/metrics/foreign/check.js'
import { fromEvents } from '../../dist/src/metrics/foreign/result.js'
import { foreignRecord } from '../../dist/src/metrics/foreign/shape.js'
import { parseScenario } from '../../dist/src/scenario/parse.js'
import { makePlan } from '../../dist/src/scenario/plan.js'
import { CORES, MODEL } from './null-bench.mjs'
import { PROMPT_TOKENS, startReplay } from './replay-server.mjs'
import { COLUMN, givenTools, runTool } from './tools.mjs'

const STREAMS = fileURLToPath(new URL('./streams.json', import.meta.url))
/** The set was recorded on a slow machine: e2e of some 0.4 s at this speed. */
const SPEED = 8
const SET = JSON.parse(readFileSync(STREAMS, 'utf8')).streams.length
/** More than any stream of the set has. */
const OUTPUT = 64

/** Exit code 1 when a figure is not within the tool's rounding. */
export async function sameEvents(flags, folder) {
  const outcome = []
  for (const tool of givenTools(flags)) {
    const load = {
      concurrency: 4,
      requests: flags.requests,
      output: OUTPUT,
      api: flags.api,
      detailed: true,
    }
    const { value } = await replayed((url) => runTool(tool, flags, url, load, folder))
    if (flags.keep) cpSync(value.folder, join(flags.keep, tool), { recursive: true })
    const { version, column, events, requestsOk } = value.result
    const figures = checkFigures(column, fromEvents(value.result))
    const off = figures.filter((figure) => !figure.withinRounding)
    const largest = figures.reduce((most, { relative }) => Math.max(most, Math.abs(relative)), 0)
    console.log(`${tool} ${version ?? ''}: ${requestsOk} requests, ${events.records.length} with events`)
    console.table(figures)
    console.log(
      `${figures.length - off.length} of ${figures.length} figures within its rounding; largest difference ${largest}`,
    )
    if (off.length > 0) process.exitCode = 1
    outcome.push({ tool, version, requests: requestsOk, figures, largest, off: off.map((figure) => figure.name) })
  }
  return outcome
}

/** Differences from what the server wrote down, by each tool's own definitions: the tool's, and ours in a run of ours. */
export async function compat(flags, folder) {
  const rows = []
  for (const concurrency of flags.concurrency) {
    const load = { concurrency, requests: SET, output: OUTPUT, api: flags.api, detailed: false }
    const ours = await replayed((url) => ownRun(url, load))
    for (const tool of givenTools(flags)) {
      const theirs = await replayed((url) => runTool(tool, flags, url, load, folder))
      const truth = new Map(figuresOf(toolColumn(COLUMN[tool], theirs.records)))
      const ownTruth = new Map(figuresOf(toolColumn(COLUMN[tool], ours.records)))
      const own = new Map(figuresOf(toolColumn(COLUMN[tool], ours.value.records)))
      for (const [metric, printed] of figuresOf(theirs.value.result.column))
        rows.push({
          concurrency,
          tool,
          metric,
          theirs: printed,
          truth: truth.get(metric),
          theirsMinusTruth: printed - truth.get(metric),
          ours: own.get(metric),
          ownTruth: ownTruth.get(metric),
          oursMinusTruth: own.get(metric) - ownTruth.get(metric),
        })
    }
  }
  console.table(rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, rounded(value)]))))
  return { api: flags.api, speed: SPEED, requests: SET, rows }
}

/** Server and clients on cores of their own. `records`: what the server did for the last SET requests (a tool may probe first). */
async function replayed(use) {
  const server = await startReplay(STREAMS, SPEED)
  try {
    execFileSync('taskset', ['-acp', String(CORES.server), String(server.pid)])
    const value = await use(new URL(server.url).origin)
    const traces = await server.takeTraces()
    return {
      value,
      records: traces
        .sort((a, b) => a.receivedNs - b.receivedNs)
        .slice(-SET)
        .map(truthOf),
    }
  } finally {
    server.close()
  }
}

/** The server's stamps as a record: t0 is when the request was in, a token comes when its frame was handed to the socket. */
function truthOf({ receivedNs, roleNs, wroteNs, tokens, completion }, index) {
  const framesNs = wroteNs.map((ns) => ns - receivedNs)
  const lastNs = wroteNs.at(-1)
  const times = {
    sentNs: receivedNs,
    firstChoiceNs: roleNs ?? wroteNs[0],
    firstTokenNs: wroteNs[0],
    lastTokenNs: lastNs,
  }
  const counts = { outputTokens: completion, promptTokens: PROMPT_TOKENS }
  const record = foreignRecord({ ...times, ...counts, doneNs: lastNs, framesNs }, index)
  // The finish reason comes in the write of the last tokens, in a frame of its own.
  return { ...record, readTokens: tokens, finishNs: lastNs, bareFinish: true }
}

async function ownRun(url, { concurrency, requests, output, api }) {
  const text = `workload: {input: ${PROMPT_TOKENS}, output: ${output}}\nload: {concurrency: ${concurrency}, requests: ${requests}}\n`
  const scenario = parseScenario(text, 'compat')
  const plan = await makePlan(scenario, { vocabSize: 32_000 })
  const target = { baseUrl: `${url}/v1`, apiKey: null, api, model: MODEL }
  return await runLoad({ plan, scenario, workers: 1, target })
}

function rounded(value) {
  return typeof value === 'number' ? Number(value.toFixed(3)) : value
}
