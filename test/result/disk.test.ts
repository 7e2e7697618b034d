import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readRun } from '../../src/result/read.js'
import { manifest, record, temporaryFolder } from './builders.js'

/** The store runs in a process of its own here: it is killed, and its disk fills up. */
const root = join(dirname(fileURLToPath(import.meta.url)), '../..')
const scratch = temporaryFolder()
const script = join(scratch, 'writer.js')

/** Appends records for ever, and tells on stdout the index of each after append() returned. */
const WRITER = `
import { createRun } from './src/result/store.js'
import { readFileSync, writeSync } from 'node:fs'
const [folder] = process.argv.slice(2)
const { manifest, record } = JSON.parse(readFileSync(0, 'utf8'))
let written = 0
try {
  const block = createRun(folder, manifest).openBlock({ index: 0, target: 'paged', repeat: 0, startNs: 0 })
  for (;;) {
    block.writeRecord({ ...record, index: written, requestId: 'r-' + written })
    writeSync(1, written++ + '\\n')
    if (written % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
} catch (error) {
  writeSync(2, JSON.stringify({ code: error.code, message: error.message, fix: error.fix, written }))
  process.exitCode = error.exitCode ?? 99
}
`

beforeAll(() => {
  mkdirSync(join(scratch, 'src/result'), { recursive: true })
  writeFileSync(join(scratch, 'package.json'), '{"type":"module"}')
  for (const name of ['src/failure', 'src/result/store', 'src/result/journal']) {
    const source = readFileSync(join(root, `${name}.ts`), 'utf8')
    const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true }
    writeFileSync(join(scratch, `${name}.js`), ts.transpileModule(source, { compilerOptions: options }).outputText)
  }
  writeFileSync(script, WRITER)
})
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const input = JSON.stringify({ manifest: manifest(), record: record(0, 64) })

describe('a writer killed with SIGKILL', () => {
  test('loses no request whose record had been appended, at 12 moments', { timeout: 60_000 }, async () => {
    for (let round = 0; round < 12; round++) {
      const folder = join(scratch, `killed-${round}`)
      const acknowledged = await killAfter(folder, 40 + round * 97)
      const block = readRun(folder).blocks[0]!
      expect(block.records.length).toBeGreaterThanOrEqual(acknowledged)
      expect(block.records.map((entry) => entry.index)).toEqual(block.records.map((_, i) => i))
      expect(block.manifest.status).toBe('partial')
    }
  })
})

/** Runs the writer, kills it once it told of `lines` records; gives how many it had told in all. */
async function killAfter(folder: string, lines: number): Promise<number> {
  const child: ChildProcess = spawn(process.execPath, [script, folder], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin!.end(input)
  let told = 0
  child.stdout!.on('data', (chunk: Buffer) => {
    for (const byte of chunk) if (byte === 10) told++
    if (told >= lines) child.kill('SIGKILL')
  })
  await new Promise((resolve) => child.on('close', resolve))
  return told
}

describe('a disk that refuses', () => {
  const expectKept = (folder: string, stderr: string, osCode: string): void => {
    const told = JSON.parse(stderr)
    expect(told).toMatchObject({ code: 'disk' })
    expect(told.message).toContain(osCode)
    expect(told.fix).toContain('kept')
    expect(told.written).toBeGreaterThan(3)
    const run = readRun(folder)
    expect(run.blocks[0]!.records).toHaveLength(told.written)
    expect(run.damage).toEqual([])
    expect(run.manifest.status).toBe('partial')
  }

  test('a file-size limit ends in Failure disk (exit 3) with every earlier record kept', () => {
    const folder = join(scratch, 'limited')
    const command = 'ulimit -f 64; exec "$0" "$@"'
    const child = spawnSync('bash', ['-c', command, process.execPath, script, folder], { input, encoding: 'utf8' })
    expect(child.status).toBe(3)
    expectKept(folder, child.stderr, 'EFBIG')
  })

  test('a full tmpfs ends in Failure disk with every earlier record kept', (context) => {
    const mount = join(scratch, 'full')
    mkdirSync(mount)
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=96k', 'tmpfs', mount])
    if (mounted.status !== 0) return context.skip('mounting a tmpfs is not allowed here')
    try {
      const folder = join(mount, 'run')
      const child = spawnSync(process.execPath, [script, folder], { input, encoding: 'utf8' })
      expect(child.status).toBe(3)
      expectKept(folder, child.stderr, 'ENOSPC')
    } finally {
      execFileSync('umount', [mount])
    }
  })

  test('a folder that cannot be made is a clear failure', () => {
    const child = spawnSync(process.execPath, [script, '/proc/none/run'], { input, encoding: 'utf8' })
    expect(child.status).toBe(3)
    expect(JSON.parse(child.stderr).message).toContain('/proc/none/run')
  })
})
