import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { readRun } from '../../src/result/read.js'
import type { Summary } from '../../src/result/schema.js'
import { type CachingOptions, type CachingServer, startCachingServer } from '../target/caching-server.js'

/** What `bench run` says of its figures, end to end against a scripted server: real processes, from flags to exit code. */
const cli = fileURLToPath(new URL('../../dist/src/cli.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'bench-verdict-'))
let server: CachingServer | null = null
afterEach(() => server?.close())
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let runs = 0

const SLOW: CachingOptions = { cache: 'prefix', perTokenMs: 0.5, reports: true }

async function bench(options: CachingOptions, scenario: string, ...flags: string[]) {
  server?.close()
  server = await startCachingServer(options)
  const [file, out] = [join(folder, `${runs}.yaml`), join(folder, `run-${runs++}`)]
  writeFileSync(file, scenario)
  const child = spawn(process.execPath, [cli, 'run', file, '-t', `s=${server.url}`, '--json', '--out', out, ...flags], {
    cwd: folder,
    env: { ...process.env, BENCH_CALIBRATION: join(folder, 'calibration.json') },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.on('close', resolve)),
  ])
  if (stdout === '') throw new Error(`bench run said nothing (exit ${code}): ${stderr}`)
  const summary = JSON.parse(stdout) as Summary
  const codes = summary.verdict.reasons
    .filter((reason) => reason.code !== 'git')
    .map((reason) => `${reason.code}: ${reason.severity}`)
  return { code, stderr, summary, codes, run: readRun(out) }
}

async function text(stream: NodeJS.ReadableStream): Promise<string> {
  let all = ''
  for await (const part of stream) all += part
  return all
}

const LOAD = 'workload: {input: 64, output: 4}\nload: {concurrency: 2, requests: 16}\n'

describe('bench run', () => {
  it('calibrates by itself, once: a second run of this machine takes the first one’s', async () => {
    const first = await bench(SLOW, LOAD)
    expect(first.stderr).toMatch(/what the client itself adds \(2 streams\)/)
    expect(first.run.manifest.calibration).toMatchObject({ concurrency: 2, reused: false })
    // A busy machine may make the client INVALID for other reasons; not for a missing calibration.
    expect(JSON.stringify(first.summary.verdict)).not.toContain('no calibration')
    const second = await bench(SLOW, LOAD)
    expect(second.stderr).not.toMatch(/what the client itself adds/)
    expect(second.run.manifest.calibration).toMatchObject({
      ttftAddedMsP50: first.run.manifest.calibration!.ttftAddedMsP50,
      reused: true,
    })
  }, 120_000)

  it('is INVALID, exit 3, without a calibration', async () => {
    const { code, codes } = await bench(SLOW, LOAD, '--no-calibrate')
    expect(codes).toContain('client: invalid')
    expect(code).toBe(3)
  }, 60_000)

  it('is INVALID when what the client adds is more than 5 % of the measured TTFT', async () => {
    const kept = join(folder, 'calibration.json')
    if (!existsSync(kept)) await bench(SLOW, LOAD)
    const { schema, entries } = JSON.parse(readFileSync(kept, 'utf8'))
    const heavy = entries.map((entry: object) => ({ ...entry, ttftAddedMsP50: 9 }))
    writeFileSync(kept, JSON.stringify({ schema, entries: heavy }))
    const { code, summary } = await bench(SLOW, LOAD)
    writeFileSync(kept, JSON.stringify({ schema, entries }))
    expect(summary.verdict.reasons.find((reason) => reason.code === 'client')!.evidence).toMatch(/adds 9\.00 ms/)
    expect(code).toBe(3)
  }, 60_000)

  it('obeys repeats.until: stops at min when the interval is narrow, and says why', async () => {
    const { run, stderr } = await bench(SLOW, `${LOAD}repeats: {min: 3, max: 6, until: "ci95<60%"}\n`)
    expect(run.blocks).toHaveLength(3)
    expect(run.manifest.repeats).toMatchObject({ done: 3, atMost: 6, why: expect.stringMatching(/narrow enough/) })
    expect(stderr).toMatch(/block 1 of at most 6/)
    expect(stderr).toMatch(/repeat 3 of at most 6: 95 % interval of output tok\/s: ±.* \(s\); asked ±60\.0 %: narrow/)
    expect(run.manifest.notices.join()).toMatch(/3 of at most 6 repeats/)
  }, 120_000)

  it('obeys repeats.until: goes on to max when it stays wide', async () => {
    const { run } = await bench(SLOW, `${LOAD}repeats: {min: 2, max: 4, until: "ci95<0.0001%"}\n`)
    expect(run.blocks).toHaveLength(4)
    expect(run.manifest.repeats).toMatchObject({ done: 4, why: expect.stringMatching(/not reached/) })
  }, 120_000)

  it('takes dropped arrivals for a fault, unless they are declared; either way they are recorded and bad', async () => {
    const open =
      'workload: {input: 64, output: 4}\nload: {rate: 100/s, arrivals: constant, requests: 60, cap: 1}\n' +
      'slo: {ttft: "p50<5000ms", errors: "100%"}\n'
    const fault = await bench(SLOW, open)
    expect(fault.codes).toContain('load: invalid')
    const declared = await bench(SLOW, open, '--drops', 'allowed')
    expect(declared.codes).toContain('load: note')
    expect(declared.codes).not.toContain('load: invalid')
    const block = declared.summary.blocks[0]!
    expect(block.outcomes['dropped']).toBeGreaterThan(10)
    expect(block.sloAttainment).toBeCloseTo(block.requestsOk / 60, 5)
  }, 120_000)

  it('stops an open loop that piles up, when asked, and names it: NO-STEADY-STATE', async () => {
    const open = 'workload: {input: 16, output: 2}\nload: {rate: 30/s, requests: 3000}\n'
    const { code, codes, summary, run } = await bench({ ...SLOW, serialMs: 100 }, open, '--stop-when-growing')
    expect(codes).toContain('overload: no-steady-state')
    expect(codes).not.toContain('samples: invalid')
    expect(summary.verdict.reasons.find((reason) => reason.code === 'overload')!.evidence).toMatch(/grew from/)
    expect(run.blocks[0]!.manifest).toMatchObject({ status: 'complete', stoppedEarly: expect.any(String) })
    expect(run.blocks[0]!.records).toHaveLength(3000)
    // Whatever else the load made of the client: an overload alone is not INVALID.
    expect(code).toBe(codes.some((one) => one.endsWith('invalid')) ? 3 : 0)
  }, 120_000)

  it('finds out about the cache of a server that reports nothing', async () => {
    const silent = { cache: 'prefix' as const, perTokenMs: 0.25 }
    const { codes, run } = await bench(silent, LOAD)
    expect(run.blocks[0]!.manifest.cacheCheck).toMatchObject({
      before: { keepsCache: 'yes', answersResalted: 'no' },
      after: { keepsCache: 'yes', answersResalted: 'no' },
    })
    expect(codes.filter((one) => one.startsWith('cache'))).toEqual([])
    const leaky = await bench({ ...silent, cache: 'content' }, LOAD)
    expect(leaky.codes).toContain('cache: invalid')
    const unprobed = await bench(silent, LOAD, '--no-cache-probe')
    expect(unprobed.codes).toContain('cache: note')
    expect(unprobed.run.blocks[0]!.manifest.cacheCheck).toBeNull()
  }, 120_000)

  it('is INVALID when answers end early by themselves although lengths are enforced', async () => {
    const { codes, code } = await bench({ ...SLOW, finish: 'stop' }, LOAD)
    expect(codes).toContain('output_length: invalid')
    expect(code).toBe(3)
  }, 60_000)

  it('says which -n would carry an objective’s percentile', async () => {
    const { summary } = await bench(SLOW, `${LOAD}slo: {ttft: "p90<5000ms"}\n`)
    const reason = summary.verdict.reasons.find((one) => one.code === 'samples')!
    expect(`${reason.evidence}; ${reason.fix}`).toMatch(/ttft p90 needs 64 samples, has 16; run with -n 64 /)
  }, 60_000)
})
