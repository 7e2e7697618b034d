import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import ts from 'typescript'

const ROOM_FOLDERS = ['engines', 'kernels']

/** Compiles engines/ and the kernel binding into dist/ where the source is newer: the engine's thread needs JavaScript. */
export function compileEngines(): void {
  const root = join(import.meta.dirname, '..', '..')
  for (const folder of ROOM_FOLDERS) {
    for (const name of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
      if (name.endsWith('.ts'))
        compile(join(root, folder, name), join(root, 'dist', folder, name.replace(/\.ts$/, '.js')))
    }
  }
}

function compile(source: string, target: string): void {
  if (modified(target) >= modified(source)) return
  const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true }
  const { outputText } = ts.transpileModule(readFileSync(source, 'utf8'), { compilerOptions: options })
  mkdirSync(dirname(target), { recursive: true })
  const draft = `${target}.${process.pid}`
  writeFileSync(draft, outputText)
  renameSync(draft, target)
}

function modified(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
