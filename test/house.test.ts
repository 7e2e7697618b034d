import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

/** The import rule of the house: who may import whom, and no cycles. Read from the sources themselves. */
const root = fileURLToPath(new URL('..', import.meta.url))
const files = ['src', 'engines', 'kernels', 'reports'].flatMap((room) => list(join(root, room)))
const imports = new Map(files.map((file) => [relative(root, file), readImports(file)]))

function list(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    return statSync(path).isDirectory() ? list(path) : path.endsWith('.ts') ? [path] : []
  })
}

function readImports(file: string): { path: string; typeOnly: boolean }[] {
  const text = readFileSync(file, 'utf8')
  const found: { path: string; typeOnly: boolean }[] = []
  for (const match of text.matchAll(/^\s*(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm))
    found.push({ path: resolveImport(file, match[2]!), typeOnly: match[1] !== undefined })
  for (const match of text.matchAll(/\bimport\('([^']+)'\)/g))
    found.push({ path: resolveImport(file, match[1]!), typeOnly: false })
  return found
}

function resolveImport(file: string, specifier: string): string {
  if (!specifier.startsWith('.')) return specifier
  return normalize(relative(root, join(dirname(file), specifier))).replace(/\.js$/, '.ts')
}

function edges(from: string): [string, string][] {
  return [...imports]
    .filter(([file]) => file.startsWith(from))
    .flatMap(([file, list]) => list.map(({ path }): [string, string] => [file, path]))
}

function forbidden(from: string, to: (path: string, file: string) => boolean): string[] {
  return edges(from)
    .filter(([file, path]) => to(path, file))
    .map(([file, path]) => `${file} -> ${path}`)
}

describe('the house', () => {
  it('is read at all: sources were found', () => {
    expect(files.length).toBeGreaterThan(60)
    expect(edges('src/').length).toBeGreaterThan(60)
  })
  it('src/ imports neither engines/ nor kernels/: it meets an engine over HTTP', () => {
    expect(forbidden('src/', (path) => path.startsWith('engines/') || path.startsWith('kernels/'))).toEqual([])
  })
  it('engines/ and kernels/ import nothing of src/ or reports/', () => {
    for (const room of ['engines/', 'kernels/'])
      expect(forbidden(room, (path) => path.startsWith('src/') || path.startsWith('reports/'))).toEqual([])
  })
  it('kernels/ imports no engine', () => {
    expect(forbidden('kernels/', (path) => path.startsWith('engines/'))).toEqual([])
  })
  it('reports/ imports result types only, and no statistic', () => {
    expect(
      forbidden(
        'reports/',
        (path) =>
          path.startsWith('engines/') ||
          path.startsWith('kernels/') ||
          path.startsWith('src/statistics') ||
          path.startsWith('src/metrics'),
      ),
    ).toEqual([])
  })
  it('engines/static and engines/paged do not know each other', () => {
    expect(forbidden('engines/static', (path) => path.startsWith('engines/paged'))).toEqual([])
    expect(forbidden('engines/paged', (path) => path.startsWith('engines/static'))).toEqual([])
  })
  it('engines/http sees neither blocks nor tensors', () => {
    expect(
      forbidden(
        'engines/http',
        (path) =>
          /^(kernels|engines\/(paged|static|executor|batch|loop|worker))/.test(path) ||
          path === 'engines/model/llama.ts',
      ),
    ).toEqual([])
  })
  it('the schedulers see neither text nor pointers', () => {
    for (const room of ['engines/paged', 'engines/static'])
      expect(
        forbidden(
          room,
          (path) => path.startsWith('engines/http') || /^engines\/model\/(tokenizer|chat-template|llama)/.test(path),
        ),
      ).toEqual([])
  })
  it('koffi has two users', () => {
    const users = [...imports].filter(([, list]) => list.some(({ path }) => path === 'koffi')).map(([file]) => file)
    expect(users.sort()).toEqual(['kernels/binding.ts', 'src/telemetry/nvml.ts'])
  })
  it('src/statistics has no clock and no files', () => {
    expect(forbidden('src/statistics', (path) => path.startsWith('node:') || path.endsWith('clock.ts'))).toEqual([])
    for (const file of files.filter((path) => path.includes('/src/statistics/')))
      expect(readFileSync(file, 'utf8')).not.toMatch(/hrtime|performance\.now|Date\.now|new Date/)
  })
  it('has no import cycle', () => {
    const state = new Map<string, 'open' | 'done'>()
    const cycles: string[] = []
    const visit = (file: string, trail: string[]) => {
      if (state.get(file) === 'done') return
      if (state.get(file) === 'open') {
        cycles.push([...trail.slice(trail.indexOf(file)), file].join(' -> '))
        return
      }
      state.set(file, 'open')
      for (const { path, typeOnly } of imports.get(file) ?? [])
        if (!typeOnly && imports.has(path)) visit(path, [...trail, file])
      state.set(file, 'done')
    }
    for (const file of imports.keys()) visit(file, [])
    expect(cycles).toEqual([])
  })
})
