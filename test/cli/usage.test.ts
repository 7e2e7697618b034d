import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'

const cli = fileURLToPath(new URL('../../dist/src/cli.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'bench-cli-'))
afterAll(() => rmSync(folder, { recursive: true }))

function bench(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args], {
    encoding: 'utf8',
    cwd: folder,
    timeout: 30_000,
  })
  return { status, stdout, stderr }
}

describe('bad usage', () => {
  it('exits 2 and names the nearest flag', () => {
    const { status, stderr } = bench('run', '--concurency', '16')
    expect(status).toBe(2)
    expect(stderr).toMatch(/--concurrency/)
  })
  it('exits 2 and names the nearest command', () => {
    const { status, stderr } = bench('rnu')
    expect(status).toBe(2)
    expect(stderr).toMatch(/run/)
  })
  it('exits 2 for an impossible number, naming it', () => {
    const { status, stderr } = bench('run', '--concurrency', 'many')
    expect(status).toBe(2)
    expect(stderr).toMatch(/'many'/)
  })
  it('takes a number of requests or a multiple, and refuses anything else', () => {
    const { status, stderr } = bench('run', 'smoke', '-n', 'lots')
    expect(status).toBe(2)
    expect(stderr).toMatch(/'lots'/)
    for (const [asked, planned] of [
      ['24', '24 requests'],
      ['3x', '12 requests'],
    ])
      expect(bench('run', 'smoke', '-m', 'tiny', '-n', asked!, '--dry-run').stdout).toContain(planned)
  })
  it('refuses a closed and an open loop at once', () => {
    const { status, stderr } = bench('run', '--concurrency', '4', '--rate', '2')
    expect(status).toBe(2)
    expect(stderr).toMatch(/one of them/)
  })
  it('exits 2 with the nearest preset for an unknown scenario', () => {
    const { status, stderr } = bench('scenario', 'check', 'chatt')
    expect(status).toBe(2)
    expect(stderr).toMatch(/chat/)
  })
  it('exits 2 with line and nearest key for an unknown scenario key', () => {
    const file = join(folder, 'bad.yaml')
    writeFileSync(
      file,
      'schema: bench/scenario@1\nname: bad\nworkload:\n  inptu: 12\n  output: 4\nload:\n  - {concurrency: 2, min_requests: 4}\n',
    )
    const { status, stderr } = bench('scenario', 'check', file)
    expect(status).toBe(2)
    expect(stderr).toMatch(/input/)
    expect(stderr).toMatch(/:4/)
  })
  it('prints help to stderr and exits 2 without a command, 0 with --help', () => {
    expect(bench().status).toBe(2)
    expect(bench('--help').status).toBe(0)
    expect(bench('run', '--help').stdout).toMatch(/--max-num-batched-tokens/)
  })
  it('says what a folder that is no run lacks', () => {
    const { status, stderr } = bench('compare', folder, folder)
    expect(status).toBe(3)
    expect(stderr).toMatch(/manifest/)
  })
})

describe('small commands', () => {
  it('explains a metric and suggests for a misspelt one', () => {
    expect(bench('explain', 'ttft').stdout).toMatch(/first frame/)
    const { status, stderr } = bench('explain', 'ttfd')
    expect(status).toBe(2)
    expect(stderr).toMatch(/ttft/)
  })
  it('lists every preset, and expands one to the same hash twice', () => {
    expect(bench('scenario', 'list').stdout).toMatch(/chat-cpu/)
    const [first, second] = [bench('scenario', 'expand', 'smoke'), bench('scenario', 'expand', 'smoke')]
    expect(first.stderr).toMatch(/hash [0-9a-f]{64}/)
    expect(second.stderr).toBe(first.stderr)
    expect(second.stdout).toBe(first.stdout)
  })
  it('diagnoses this machine as JSON', () => {
    const findings = JSON.parse(bench('doctor', '--json').stdout) as { name: string; state: string }[]
    expect(findings.find((finding) => finding.name === 'Node')!.state).toBe('OK')
    expect(findings.some((finding) => finding.name === 'NVML' || finding.name === 'card')).toBe(true)
  })
})
