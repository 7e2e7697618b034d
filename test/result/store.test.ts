import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { Failure } from '../../src/failure.js'
import { readRun, readSummary } from '../../src/result/read.js'
import { recoverRun } from '../../src/result/recover.js'
import { createRun } from '../../src/result/store.js'
import { manifest, record, temporaryFolder } from './builders.js'

let folder: string
beforeEach(() => {
  folder = join(temporaryFolder(), 'run')
})

function writeRun(requests: number, end: boolean): string {
  const run = createRun(folder, manifest())
  run.writePlan(Array.from({ length: 3 }, (_, index) => ({ index }) as never))
  const block = run.openBlock({ index: 0, target: 'paged', repeat: 0, startNs: 5 })
  for (let i = 0; i < requests; i++) block.writeRecord(record(i))
  block.writeTelemetry({ tNs: 1 } as never)
  block.writeHealth([{ worker: 0 } as never])
  if (end) {
    block.end('complete', { endNs: 9, measureStartNs: 6 }, null)
    run.finish()
  }
  return join(folder, 'blocks', '0-paged', 'requests.jsonl')
}

const codeOf = (action: () => unknown): string => {
  try {
    action()
  } catch (error) {
    if (error instanceof Failure) return error.code
    throw error
  }
  return 'no failure'
}

describe('a run that ends well', () => {
  test('reads back what was written', () => {
    writeRun(5, true)
    const run = readRun(folder)
    expect(run.manifest.status).toBe('complete')
    expect(run.plan.map((row) => row.index)).toEqual([0, 1, 2])
    expect(run.blocks).toHaveLength(1)
    expect(run.blocks[0]!.manifest).toMatchObject({ status: 'complete', startNs: 5, measureStartNs: 6, endNs: 9 })
    expect(run.blocks[0]!.records).toEqual(Array.from({ length: 5 }, (_, i) => record(i)))
    expect(run.blocks[0]!.telemetry).toHaveLength(1)
    expect(run.blocks[0]!.health).toHaveLength(1)
    expect(run.damage).toEqual([])
  })

  test('keeps every file to its owner and leaves no temporary file', () => {
    writeRun(2, true)
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    expect(files.filter((name) => name.endsWith('.tmp'))).toEqual([])
    for (const name of files) {
      const stat = lstatSync(join(folder, name))
      expect(stat.mode & 0o777, name).toBe(stat.isDirectory() ? 0o700 : 0o600)
    }
  })

  test('a block named after a hostile target stays inside the run', () => {
    const run = createRun(folder, manifest())
    const block = run.openBlock({ index: 0, target: '../../etc/<x>', repeat: 0, startNs: 0 })
    expect(block.path.startsWith(join(folder, 'blocks') + '/0-')).toBe(true)
    expect(block.path.slice(join(folder, 'blocks').length + 1)).not.toContain('/')
    expect(readRun(folder).blocks).toHaveLength(1)
  })

  test('a block that failed makes the run partial', () => {
    const run = createRun(folder, manifest())
    run
      .openBlock({ index: 0, target: 'a', repeat: 0, startNs: 0 })
      .end('failed', { endNs: 1, measureStartNs: null }, 'x')
    expect(run.finish().status).toBe('partial')
  })
})

describe('what is never done', () => {
  test('an existing folder is not written into', () => {
    writeRun(1, true)
    expect(codeOf(() => createRun(folder, manifest()))).toBe('disk')
  })

  test('a link in place of the manifest is replaced, not followed; a linked journal is not read', () => {
    const path = writeRun(1, true)
    const secret = join(temporaryFolder(), 'secret')
    writeFileSync(secret, 'precious')
    symlinkSync(secret, join(folder, 'summary.json'))
    expect(codeOf(() => readSummary(folder))).toBe('bad-result')
    expect(statSync(path).isFile()).toBe(true)
    expect(readFileSync(secret, 'utf8')).toBe('precious')
  })

  test('a manifest that names a folder outside the run is refused', () => {
    const block = { index: 0, target: 'x', repeat: 0, folder: '..', startNs: 0, endNs: null, measureStartNs: null }
    for (const name of ['..', '../..', 'a/b', '']) {
      const root = join(temporaryFolder(), 'r')
      mkdirSync(root)
      const blocks = [{ ...block, folder: name, status: 'complete', reason: null }]
      writeFileSync(join(root, 'manifest.json'), JSON.stringify(manifest({ blocks: blocks as never })))
      expect(
        codeOf(() => readRun(root)),
        name,
      ).toBe('bad-result')
    }
  })

  test.each([
    ['no manifest', null],
    ['not JSON', '{'],
    ['null', 'null'],
    ['another schema', JSON.stringify({ schema: 'pagedbench/run@2' })],
    ['fields missing', JSON.stringify({ schema: 'pagedbench/run@1' })],
  ])('%s is a bad result, said so', (_title, text) => {
    mkdirSync(folder)
    if (text !== null) writeFileSync(join(folder, 'manifest.json'), text)
    expect(codeOf(() => readRun(folder))).toBe('bad-result')
  })
})

describe('a journal cut short', () => {
  test('at 300 random bytes keeps exactly the whole lines before the cut', () => {
    const path = writeRun(40, false)
    const whole = readFileSync(path)
    const ends: number[] = []
    for (let i = 0; i < whole.length; i++) if (whole[i] === 10) ends.push(i)
    let seed = 7
    for (let round = 0; round < 300; round++) {
      seed = (seed * 1103515245 + 12345) % 2147483648
      const cut = round < ends.length ? ends[round]! + (round % 3) - 1 : seed % (whole.length + 1)
      writeFileSync(path, whole.subarray(0, cut))
      const block = readRun(folder).blocks[0]!
      // A line whose only loss is its line feed is still whole.
      const expected = ends.filter((end) => end <= cut).length
      expect(block.records.length, `cut at ${cut}`).toBe(expected)
      expect(block.records.every((entry, i) => entry.index === i)).toBe(true)
      expect(block.manifest.status).toBe('partial')
    }
  })

  test('recovery marks the run partial, counts exactly and deletes nothing', () => {
    const path = writeRun(40, false)
    truncateSync(path, statSync(path).size - 5)
    const recovery = recoverRun(folder)
    expect(recovery.status).toBe('partial')
    expect(recovery.blocks[0]).toMatchObject({ recorded: 39, planned: 100, unrecorded: 61, outcomes: { ok: 39 } })
    expect(recovery.damage[0]).toContain('torn')
    const again = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'))
    expect(again.status).toBe('partial')
    expect(again.blocks[0].status).toBe('partial')
    expect(recoverRun(folder).blocks[0]!.recorded).toBe(39)
  })

  test('recovering a complete run changes nothing', () => {
    writeRun(3, true)
    const before = readFileSync(join(folder, 'manifest.json'), 'utf8')
    expect(recoverRun(folder).status).toBe('complete')
    expect(readFileSync(join(folder, 'manifest.json'), 'utf8')).toBe(before)
  })

  test('a damaged line in the middle is counted and its neighbours are kept', () => {
    const path = writeRun(3, true)
    const lines = readFileSync(path, 'utf8').split('\n')
    lines[1] = '{"index":1,"outcome":"constructor","readNs":[],"readTokens":[]}'
    writeFileSync(path, lines.join('\n'))
    const run = readRun(folder)
    expect(run.blocks[0]!.records.map((entry) => entry.index)).toEqual([0, 2])
    expect(run.damage).toEqual(['0-paged/requests.jsonl: 1 damaged lines skipped'])
  })
})
