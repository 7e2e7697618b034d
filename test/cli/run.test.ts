import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { readRun } from '../../src/result/read.js'
import type { Summary } from '../../src/result/schema.js'

/** `bench run` as a user starts it: real processes, the tiny preset on the CPU kernels. */
const cli = fileURLToPath(new URL('../../dist/src/cli.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'bench-run-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const TINY = ['--model', 'tiny', '--no-ceilings', '--no-calibrate', '--no-color']

function start(...args: string[]): {
  child: ChildProcess
  output: Promise<{ code: number | null; stdout: string; stderr: string }>
} {
  const child = spawn(process.execPath, [cli, 'run', ...args], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout!.on('data', (part) => {
    stdout += part
  })
  child.stderr!.on('data', (part) => {
    stderr += part
  })
  const output = new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
  return { child, output }
}

/** Waits until the run's journal of block `n` holds a record. */
async function untilRecorded(run: string, block: string): Promise<void> {
  const journal = join(run, 'blocks', block, 'requests.jsonl')
  for (let tries = 0; tries < 600; tries++) {
    if (existsSync(journal) && readFileSync(journal, 'utf8').includes('\n')) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`nothing was recorded in ${journal}`)
}

describe('bench run', () => {
  it('drives both engines with one plan and writes raw records, summary and reports; greedy answers are equal', async () => {
    const run = join(folder, 'both')
    const { code, stdout } = await start('smoke', ...TINY, '--json', '--out', run, '-n', '24').output
    const summary = JSON.parse(stdout) as Summary
    expect([0, 3]).toContain(code)
    const data = readRun(run)
    expect(data.manifest.status).toBe('complete')
    expect(data.blocks.map((block) => block.manifest.target)).toEqual(['static', 'paged'])
    for (const block of data.blocks) {
      expect(block.records.map((record) => record.index)).toHaveLength(data.plan.length)
      expect(block.records.every((record) => record.outcome === 'ok')).toBe(true)
      expect(block.steps.some((step) => step.kind === 'step')).toBe(true)
      expect(block.telemetry.length).toBeGreaterThan(2)
    }
    expect(summary.answers).toMatchObject([
      { base: 'static', head: 'paged', compared: data.plan.length, equal: data.plan.length },
    ])
    expect(summary.comparisons.find((row) => row.metric === 'output tok/s')!.ratio).toBeGreaterThan(0)
    for (const name of ['report.html', 'report.md', 'summary.json']) expect(existsSync(join(run, name))).toBe(true)
  }, 120_000)

  it('keeps what was measured at Ctrl-C, marked partial, and exits 130', async () => {
    const run = join(folder, 'interrupted')
    const { child, output } = start('smoke', ...TINY, '-t', 'paged', '-n', '20000', '--out', run)
    await untilRecorded(run, '0-paged')
    child.kill('SIGINT')
    const { code, stderr } = await output
    expect(code).toBe(130)
    expect(stderr).toMatch(/partial/)
    const data = readRun(run)
    expect(data.manifest.status).toBe('partial')
    const records = data.blocks[0]!.records
    expect(records).toHaveLength(data.plan.length)
    expect(records.filter((record) => record.outcome === 'ok').length).toBeGreaterThan(0)
    expect(new Set(records.map((record) => record.outcome))).toEqual(new Set(['ok', 'cancelled']))
  }, 120_000)

  it('ends INVALID with the reason when an engine is killed, and loses no record', async () => {
    const run = join(folder, 'killed')
    const { output } = start('smoke', ...TINY, '-t', 'paged', '-n', '20000', '--out', run)
    await untilRecorded(run, '0-paged')
    const engine = readRun(run)
    expect(engine.manifest.status).toBe('partial')
    process.kill(enginePid(run), 'SIGKILL')
    const { code, stdout } = await output
    expect(code).toBe(3)
    expect(stdout).toMatch(/INVALID/)
    expect(stdout).toMatch(/SIGKILL/)
    const data = readRun(run)
    expect(data.blocks[0]!.manifest.status).toBe('failed')
    expect(data.blocks[0]!.records).toHaveLength(data.plan.length)
    expect(data.blocks[0]!.records.some((record) => record.outcome === 'target-died')).toBe(true)
  }, 120_000)

  it('refuses what cannot fit the context before anything runs', async () => {
    const { code, stderr } = await start('smoke', ...TINY, '--input-len', '100000', '--out', join(folder, 'nofit'))
      .output
    expect(code).toBe(2)
    expect(stderr).toMatch(/context|fit/)
    expect(existsSync(join(folder, 'nofit'))).toBe(false)
  }, 60_000)

  it('says what a server that is no OpenAI server answered', async () => {
    const { createServer } = await import('node:http')
    const server = createServer((_request, response) => response.end('<html>hello</html>'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const { code, stderr } = await start(
      'smoke',
      '-t',
      `http://127.0.0.1:${port}/v1`,
      '--no-calibrate',
      '--out',
      join(folder, 'html'),
    ).output
    server.close()
    expect(code).toBe(3)
    expect(stderr).toMatch(/not an OpenAI-compatible server/)
    expect(stderr).toMatch(/<html>/)
  }, 60_000)

  it('names the nearest model', async () => {
    const { code, stderr } = await start('smoke', '--model', 'smolm2-135m', '--out', join(folder, 'nomodel')).output
    expect(code).toBe(2)
    expect(stderr).toMatch(/smollm2-135m/)
  }, 60_000)
})

/** The pid of the engine whose command line names this run's step trace. */
function enginePid(run: string): number {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      if (command.includes(run) && command.includes('--step-trace')) return Number(pid)
    } catch {
      // It ended while we looked.
    }
  }
  throw new Error('no engine process found')
}
