import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import ts from 'typescript'

/** Compiles src/ into dist/ where it is newer, file by file without type checks: worker threads and child processes need JavaScript. */
export function compileSources(): void {
  const root = join(import.meta.dirname, '..', '..')
  for (const name of readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts')) continue
    const source = join(root, 'src', name)
    const target = join(root, 'dist', 'src', name.replace(/\.ts$/, '.js'))
    if (modified(target) >= modified(source)) continue
    const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true }
    const { outputText } = ts.transpileModule(readFileSync(source, 'utf8'), { compilerOptions: options })
    mkdirSync(dirname(target), { recursive: true })
    // Another test file may be at it too: whole files only.
    writeFileSync(`${target}.${process.pid}`, outputText)
    renameSync(`${target}.${process.pid}`, target)
  }
}

function modified(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
