// Ours alone against a server that writes down what it did: every metric beside the server's stamps and beside what was programmed.
import { nearestRank } from '../../dist/src/metrics/distribution.js'
import { latenciesOf, tokenGaps } from '../../dist/src/metrics/latency.js'
import { throughputOf } from '../../dist/src/metrics/throughput.js'
import { windowOf } from '../../dist/src/metrics/window.js'
import { failures, oneRun, onServer, round } from './null-bench.mjs'

const SCHEDULE = { ttftMs: 100, itlMs: 20, tokensPerFrame: 1 }
const OUTPUT = 32
/** One answer. Slots open over as long: equal answers would else end, and the next begin, all in one instant, which no server's users do. */
const ANSWER_MS = SCHEDULE.ttftMs + (OUTPUT - 1) * SCHEDULE.itlMs
/** Enough waves for a stable median: requests at each number of streams. */
const LOADS = { 1: 40, 16: 160, 256: 1024 }

export async function truth(concurrencies = Object.keys(LOADS).map(Number)) {
  const rows = []
  for (const concurrency of concurrencies) rows.push(...(await compare(concurrency)))
  console.table(rows)
  return { schedule: SCHEDULE, output: OUTPUT, rows }
}

async function compare(concurrency) {
  const requests = LOADS[concurrency] ?? 4 * concurrency
  const load = {
    concurrency,
    requests,
    output: OUTPUT,
    warmup: concurrency + 3,
    staggerMs: concurrency > 1 ? ANSWER_MS : 0,
  }
  const { traces, value } = await onServer(SCHEDULE, (server) => oneRun(server, load))
  const traceOf = new Map(traces.map((trace) => [trace.requestId, trace]))
  const pairs = value.records
    .filter((record) => record.phase === 'measure' && record.outcome === 'ok')
    .map((record) => ({ record, trace: traceOf.get(record.requestId) }))
  const rows = [
    metric('TTFT ms', SCHEDULE.ttftMs, pairs, ({ record, trace }) => [
      [latenciesOf(record).ttftMs, (trace.wroteNs[0] - trace.receivedNs) / 1e6],
    ]),
    metric('ITL ms', SCHEDULE.itlMs, pairs, ({ record, trace }) => gaps(record, trace)),
    metric('TPOT ms', SCHEDULE.itlMs, pairs, ({ record, trace }) => [
      [latenciesOf(record).tpotMs, (trace.wroteNs.at(-1) - trace.wroteNs[0]) / 1e6 / (OUTPUT - 1)],
    ]),
    rate(value, traces),
  ]
  const way = (pick) => round(nearestRank(pairs.map(pick), 50) / 1e6)
  const send = way(({ record, trace }) => trace.receivedNs - record.sentNs)
  const receive = way(({ record, trace }) => record.firstTokenNs - trace.wroteNs[0])
  console.log(
    `${concurrency} streams: ${pairs.length} measured, ${failures(value.records)} failed; ` +
      `p50 of sent to received ${send} ms, of written to read ${receive} ms`,
  )
  return rows.map((row) => ({ streams: concurrency, ...row }))
}

/** Pairs of [ours, server's]; errors at p50 and p99 of ours against both, and whether the medians agree within 1 % or 0.2 ms. */
function metric(name, programmed, pairs, pick) {
  const both = pairs.flatMap(pick)
  const at = (values, percentile) => nearestRank(values, percentile)
  const ours = both.map(([mine]) => mine)
  const errors = both.map(([mine, servers]) => mine - servers)
  const allowed = Math.max(0.2, programmed / 100)
  return {
    metric: name,
    n: both.length,
    programmed,
    'server p50': round(
      at(
        both.map(([, servers]) => servers),
        50,
      ),
    ),
    'ours p50': round(at(ours, 50)),
    'ours p99': round(at(ours, 99)),
    'minus server p50': round(at(errors, 50)),
    'minus server p99': round(at(errors, 99)),
    within: Math.abs(at(errors, 50)) <= allowed && Math.abs(at(ours, 50) - programmed) <= allowed,
  }
}

/** Gaps between reads beside the gaps between the frames that they brought. */
function gaps(record, trace) {
  const { gapMs, tokens } = tokenGaps(record)
  let frame = record.readFrames[0] - 1
  return gapMs.flatMap((gap, index) => {
    const before = trace.wroteNs[frame]
    frame += record.readFrames[index + 1]
    return Array(tokens[index]).fill([gap / tokens[index], (trace.wroteNs[frame] - before) / 1e6 / tokens[index]])
  })
}

/** Tokens/s in the window beside the tokens that the server wrote in it; programmed: every slot always busy, without a pause between requests. */
function rate(run, traces) {
  const window = windowOf(run.records, run.scenario.load.arrival, run.measureStartNs)
  const ours = throughputOf(run.records, window).outputTokensPerSecond
  const written = traces.reduce(
    (sum, { wroteNs }) => sum + wroteNs.filter((ns) => ns > window.startNs && ns <= window.endNs).length,
    0,
  )
  const { concurrency } = run.scenario.load.arrival
  const programmed = (1000 * concurrency * OUTPUT) / (SCHEDULE.ttftMs + (OUTPUT - 1) * SCHEDULE.itlMs)
  const servers = written / window.secs
  return {
    metric: 'tokens/s',
    n: run.records.length,
    programmed: round(programmed),
    'server p50': round(servers),
    'ours p50': round(ours),
    'minus server p50': round(ours - servers),
    within: Math.abs(ours / servers - 1) <= 0.01 && Math.abs(ours / programmed - 1) <= 0.01,
  }
}
