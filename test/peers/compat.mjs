// What the other tools print, checked from two sides (modes of other-tools.mjs):
// same-events  each tool's own events of one run, our column computed from them, beside what the tool printed: must agree within its rounding.
// compat       one recorded set of streams played to every client, 1 and 4 at a time: what each prints beside what the server did.
import { execFileSync } from 'node:child_process'
import { cpSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nowNs } from '../../dist/src/clock.js'
import { runLoad } from '../../dist/src/load/generator.js'
import { toolColumn } from '../../dist/src/metrics/compatibility.js'
import { nearestRank } from '../../dist/src/metrics/distribution.js'
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
const WALL_MINUS_MONOTONIC_NS = (performance.timeOrigin + performance.now()) * 1e6 - nowNs()
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
  const ways = []
  const given = givenTools(flags)
  for (const concurrency of flags.concurrency) {
    const load = { concurrency, requests: SET, output: OUTPUT, api: flags.api, detailed: true }
    const ours = await replayed((url) => ownRun(url, load))
    const failed = ours.value.records.filter((record) => record.outcome !== 'ok').length
    if (failed > 0) throw new Error(`${failed} of ${SET} requests of ours failed`)
    ways.push({ concurrency, client: 'ours', ...way(ours.value.records, 0, ours.records) })
    for (const [tool, column] of Object.entries(COLUMN)) {
      const figures = (records) => new Map(figuresOf(toolColumn(column, records)))
      rows.push(
        ...besides({ concurrency, as: tool, client: 'ours' }, figures(ours.value.records), figures(ours.records)),
      )
      if (!given.includes(tool)) continue
      const theirs = await replayed((url) => runTool(tool, flags, url, load, folder))
      const printed = new Map(figuresOf(theirs.value.result.column))
      rows.push(...besides({ concurrency, as: tool, client: tool }, printed, figures(theirs.records)))
      const { events } = theirs.value.result
      const originNs = events.clock === 'wall' ? events.originNs - WALL_MINUS_MONOTONIC_NS : events.originNs
      ways.push({ concurrency, client: tool, ...way(events.records, originNs, theirs.records) })
    }
  }
  console.table(rows)
  console.table(ways)
  return { api: flags.api, speed: SPEED, requests: SET, rows, ways }
}

/** Where a client's part of TTFT lies, p50: from its t0 to the request at the server, and from the server's first write to its first stamp. */
function way(records, originNs, servers) {
  const sent = records.toSorted((a, b) => a.sentNs - b.sentNs)
  const firstNs = (record) => record.firstChoiceNs ?? record.firstTokenNs
  const median = (pick) =>
    rounded(
      nearestRank(
        sent.map((record, index) => pick(record, servers[index])),
        50,
      ) / 1e6,
    )
  return {
    'send ms': median((record, server) => server.sentNs - originNs - record.sentNs),
    'receive ms': median(
      (record, server) =>
        originNs + firstNs(record) - (record.firstChoiceNs === null ? server.firstTokenNs : server.firstChoiceNs),
    ),
  }
}

function besides(about, figures, truth) {
  return [...figures].map(([metric, value]) => {
    const server = truth.get(metric)
    return { ...about, metric, reported: rounded(value), server: rounded(server), difference: rounded(value - server) }
  })
}

/** Server and clients on cores of their own. `records`: what the server did for the last SET requests (a tool may probe first). */
async function replayed(use) {
  const server = await startReplay(STREAMS, SPEED)
  try {
    execFileSync('taskset', ['-acp', String(CORES.server), String(server.pid)])
    await warmUp(server)
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

/** The server's own code is compiled when the first client comes. */
async function warmUp(server) {
  for (let round = 0; round < 2; round++)
    await Promise.all(
      Array.from({ length: SET }, async () => {
        const response = await fetch(`${server.url}/chat/completions`, { method: 'POST', body: '{"stream": true}' })
        await response.text()
      }),
    )
  await server.takeTraces()
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
  const planned = await makePlan(scenario, { vocabSize: 32_000 })
  // The chat API takes text only.
  const rows = planned.rows.map((row) => ({
    ...row,
    promptIds: null,
    prompt: `request ${row.index}: ${'a '.repeat(27)}`,
  }))
  const plan = api === 'chat' ? { ...planned, rows } : planned
  const target = { baseUrl: `${url}/v1`, apiKey: null, api, model: MODEL }
  return await runLoad({ plan, scenario, workers: 1, target })
}

function rounded(value) {
  return Number(value.toFixed(3))
}
