// Ours alone: 10,000 open streams at once on one client thread; lost, and memory.
import { failures, oneRun, onServer } from './null-bench.mjs'

export async function streams() {
  const load = { concurrency: 10_000, requests: 10_000, output: 4 }
  const { value } = await onServer({ ttftMs: 20_000, itlMs: 1000, tokensPerFrame: 1 }, (server) => oneRun(server, load))
  const lost = failures(value.records)
  const peakMiB = Math.round(process.resourceUsage().maxRSS / 1024)
  const outcome = { streams: load.requests, complete: value.records.length - lost, lost, peakMiB }
  console.log(JSON.stringify(outcome))
  return outcome
}
