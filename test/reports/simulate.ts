import type { StepTraceRecord } from '../../src/result/trace.js'

/** A deterministic model of the two engines in closed loop: enough to give reports real-looking traces. Not a measurement. */
export interface SimulatedRequest {
  index: number
  promptTokens: number
  outputTokens: number
  sentNs: number
  scheduledNs: number
  /** Times at which each output token left the engine. */
  tokenNs: number[]
  releasedNs: number
}

export interface Simulation {
  requests: SimulatedRequest[]
  steps: StepTraceRecord[]
  endNs: number
}

export interface Lengths {
  promptTokens: number
  outputTokens: number
}

interface Speed {
  stepNs: number
  prefillTokenNs: number
  rowNs: number
}

export const CPU_SPEED: Speed = { stepNs: 13e6, prefillTokenNs: 0.6e6, rowNs: 2.2e6 }
export const GPU_SPEED: Speed = { stepNs: 5.4e6, prefillTokenNs: 0.019e6, rowNs: 0.014e6 }

export function simulate(
  engine: 'static' | 'paged',
  lengths: readonly Lengths[],
  concurrency: number,
  startNs: number,
  speed: Speed,
): Simulation {
  return engine === 'paged'
    ? simulatePaged(lengths, concurrency, startNs, speed)
    : simulateStatic(lengths, concurrency, startNs, speed)
}

const KV_BLOCKS = 4096

function simulatePaged(lengths: readonly Lengths[], concurrency: number, startNs: number, speed: Speed): Simulation {
  const all = lengths.map((length, index) => request(length, index))
  const steps: StepTraceRecord[] = []
  const running: SimulatedRequest[] = []
  let next = 0
  let now = startNs
  let n = 0
  while (running.length > 0 || next < all.length) {
    let prefillTokens = 0
    let admitted = 0
    const decodeRows = running.length
    while (running.length < concurrency && next < all.length && admitted < 3) {
      const entry = all[next++]!
      entry.sentNs = now - 2e5 - (next % 5) * 3e5
      entry.scheduledNs = now
      prefillTokens += entry.promptTokens
      running.push(entry)
      admitted++
    }
    const durationNs = jitter(n, speed.stepNs + prefillTokens * speed.prefillTokenNs + running.length * speed.rowNs)
    steps.push(step(n++, now, durationNs, running, prefillTokens, decodeRows, 0, Math.min(2, all.length - next)))
    now += durationNs
    for (const entry of running) entry.tokenNs.push(now)
    for (let i = running.length - 1; i >= 0; i--) {
      const entry = running[i]!
      if (entry.tokenNs.length === entry.outputTokens) {
        entry.releasedNs = now
        running.splice(i, 1)
      }
    }
  }
  return { requests: all, steps: [...steps, ...all.map(trace)], endNs: now }
}

function simulateStatic(lengths: readonly Lengths[], concurrency: number, startNs: number, speed: Speed): Simulation {
  const all = lengths.map((length, index) => request(length, index))
  const steps: StepTraceRecord[] = []
  let now = startNs
  let n = 0
  for (let from = 0; from < all.length; from += concurrency) {
    const batch = all.slice(from, from + concurrency)
    const longestPrompt = Math.max(...batch.map((entry) => entry.promptTokens))
    const longestOutput = Math.max(...batch.map((entry) => entry.outputTokens))
    const batchStart = now
    // In closed loop a slot asks again as soon as its answer ended, and then waits for the batch to end.
    for (const [i, entry] of batch.entries()) {
      const previous = all[from - concurrency + i]
      entry.sentNs = previous === undefined ? now - 4e5 : previous.tokenNs.at(-1)! + 6e5
      entry.scheduledNs = now
    }
    for (let token = 0; token < longestOutput; token++) {
      const live = batch.filter((entry) => entry.tokenNs.length < entry.outputTokens)
      const prefill = token === 0 ? batch.reduce((sum, entry) => sum + entry.promptTokens, 0) : 0
      const padded = token === 0 ? longestPrompt * batch.length - prefill : batch.length - live.length
      const computed = token === 0 ? longestPrompt * batch.length : 0
      const durationNs = jitter(n, speed.stepNs + computed * speed.prefillTokenNs + batch.length * speed.rowNs)
      const waiting = token === 0 ? 0 : batch.length - live.length
      steps.push(
        step(n++, now, durationNs, live, prefill, token === 0 ? 0 : live.length, padded, waiting, batch.length),
      )
      now += durationNs
      for (const entry of live) entry.tokenNs.push(now)
    }
    for (const entry of batch) entry.releasedNs = now
    steps.push({
      kind: 'batch',
      n: from / concurrency,
      startNs: batchStart,
      endNs: now,
      rows: batch.length,
      longestPrompt,
      longestOutput,
    })
    now += 2e6
  }
  return { requests: all, steps: [...steps, ...all.map(trace)], endNs: now }
}

const request = (length: Lengths, index: number): SimulatedRequest => ({
  index,
  ...length,
  sentNs: 0,
  scheduledNs: 0,
  tokenNs: [],
  releasedNs: 0,
})

/** +/- 6 %, a function of the step alone. */
const jitter = (n: number, ns: number): number =>
  Math.round(ns * (1 + 0.06 * Math.sin(n * 12.9898) * Math.cos(n * 0.731)))

function step(
  n: number,
  tNs: number,
  durationNs: number,
  live: readonly SimulatedRequest[],
  prefillTokens: number,
  decodeTokens: number,
  paddedTokens: number,
  waiting: number,
  rows = live.length,
): StepTraceRecord {
  const held = live.reduce((sum, entry) => sum + Math.ceil((entry.promptTokens + entry.tokenNs.length + 1) / 16), 0)
  const kvBlocksUsed = rows > live.length || paddedTokens > 0 ? rows * 60 : held
  const scheduleNs = 20_000 + rows * 900
  const counts = { prefillTokens, decodeTokens, paddedTokens, running: rows, waiting, kvBlocksUsed }
  return {
    kind: 'step',
    n,
    tNs,
    durationNs,
    rows,
    ...counts,
    kvBlocksTotal: KV_BLOCKS,
    preemptions: 0,
    cachedTokens: 0,
    scheduleNs,
  }
}

const trace = (entry: SimulatedRequest): StepTraceRecord => ({
  kind: 'request',
  id: `cmpl-${entry.index}`,
  clientId: `r-${entry.index}`,
  arrivalNs: entry.sentNs + 3e5,
  scheduledNs: entry.scheduledNs,
  firstTokenNs: entry.tokenNs[0]!,
  finishedNs: entry.tokenNs.at(-1)!,
  releasedNs: entry.releasedNs,
  promptTokens: entry.promptTokens,
  outputTokens: entry.outputTokens,
  cachedTokens: 0,
  preemptions: 0,
  wastedTokens: 0,
  finishReason: 'length',
})
