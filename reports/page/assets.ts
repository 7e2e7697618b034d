import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface PageAssets {
  css: string
  /** Vega, its expression interpreter and the page's own script: one inline script, so that one hash covers it. */
  script: string
}

/** Reads what is placed into the page. Vega comes from node_modules, the rest from reports/page beside the sources. */
export function pageAssets(): PageAssets {
  const script = [vegaSource(), interpreterSource(), ownFile('page.js')].join('\n;\n')
  if (/<\/script|<!--/i.test(script)) throw new Error('a page script holds markup that would end its element')
  return { css: ['layout.css', 'figure.css', 'theme.css'].map(ownFile).join('\n'), script }
}

function vegaSource(): string {
  return packageFile('vega', 'vega.min.js')
}

/** The interpreter is published as an ES module only: its one import becomes Vega's global, its one export is added to it. */
function interpreterSource(): string {
  const source = packageFile('vega-interpreter', 'vega-interpreter.js')
  const body = source
    .replace(/^import \{([^}]*)\} from 'vega-util';/, (_match, names: string) => `const {${names}} = vega;`)
    .replace(/export \{ (\w+) as expressionInterpreter \};/, 'vega.expressionInterpreter = $1;')
    .replace(/\/\/# sourceMappingURL=.*/, '')
  if (/^\s*(import|export)\b/m.test(body))
    throw new Error('vega-interpreter has a form that this version of bench does not know')
  return `;(() => {\n${body}\n})();`
}

function packageFile(name: string, file: string): string {
  const entry = createRequire(import.meta.url).resolve(name)
  return readFileSync(join(dirname(entry), file), 'utf8')
}

/** Beside this file when run from the sources; in the package's reports/page when run from dist/. */
function ownFile(name: string): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  for (;;) {
    for (const path of [join(folder, name), join(folder, 'reports/page', name)])
      if (existsSync(path)) return readFileSync(path, 'utf8')
    const parent = dirname(folder)
    if (parent === folder) throw new Error(`reports/page/${name} is missing from this installation`)
    folder = parent
  }
}
