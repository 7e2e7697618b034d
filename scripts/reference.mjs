#!/usr/bin/env node
// node scripts/reference.mjs RUN...   Copies the records of runs into results/reference/ (manifest and summary of each, one JSON a run),
// writes INDEX.json from everything that lies there, and the README's table of figures from INDEX.json.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const folder = join(root, 'results', 'reference')
mkdirSync(folder, { recursive: true })

for (const run of process.argv.slice(2)) {
  const read = (name) => JSON.parse(readFileSync(join(run, name), 'utf8'))
  const file = `${basename(run)}.json`
  writeFileSync(join(folder, file), `${JSON.stringify({ manifest: read('manifest.json'), summary: read('summary.json') }, null, 1)}\n`)
}

const rows = readdirSync(folder)
  .filter((name) => name.endsWith('.json') && name !== 'INDEX.json')
  .sort()
  .flatMap((file) => rowsOf(file, JSON.parse(readFileSync(join(folder, file), 'utf8'))))
writeFileSync(join(folder, 'INDEX.json'), `${JSON.stringify(rows, null, 1)}\n`)
writeReadme(rows)
process.stderr.write(`${rows.length} rows in results/reference/INDEX.json\n`)

/** One row per target of a run: means over its blocks. */
function rowsOf(file, { manifest, summary }) {
  return manifest.targets.map((target) => {
    const blocks = summary.blocks.filter((block) => block.target === target.name)
    const over = (pick) => {
      const values = blocks.map(pick).filter((value) => value !== null && value !== undefined)
      return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length
    }
    const entry = summary.targets.find((one) => one.target === target.name)
    const { arrival } = manifest.scenario.load
    return {
      id: `${file.replace(/\.json$/, '')}/${target.name}`,
      file,
      device: target.device ?? manifest.telemetry?.gpu?.name ?? null,
      gpuUuid: manifest.telemetry?.gpu?.uuid ?? null,
      driver: manifest.telemetry?.gpu?.driver ?? null,
      model: target.model,
      weights: target.weights,
      dtype: target.dtype,
      engine: target.engine,
      scenario: manifest.scenario.name,
      concurrency: arrival.kind === 'closed' ? arrival.concurrency : null,
      blocks: blocks.length,
      outputTokensPerSecond: over((block) => block.outputTokensPerSecond),
      wholeRunOutputTokensPerSecond: over((block) => block.wholeRunOutputTokensPerSecond),
      promptTokensPerSecond: over((block) => block.promptTokensPerSecond),
      ttftP50Ms: over((block) => block.ttftMs.p50),
      ttftP99Ms: over((block) => block.ttftMs.p99),
      itlP50Ms: over((block) => block.itlMs.p50),
      itlP99Ms: over((block) => block.itlMs.p99),
      gpuUtilizationMean: over((block) => block.gpuUtilizationMean),
      dramBandwidthShare: over((block) => (block.gpmDramMean === null ? null : block.gpmDramMean / 100)),
      joulesPerOutputToken: over((block) => block.joulesPerOutputToken),
      shareOfLimit: over((block) => block.shareOfLimit),
      validity: entry?.verdict.validity ?? null,
      command: manifest.command.join(' '),
      commit: manifest.environment.gitCommit,
    }
  })
}

/** The table between the two markers of the README. */
function writeReadme(entries) {
  const path = join(root, 'README.md')
  const text = readFileSync(path, 'utf8')
  const number = (value, digits = 0) => (value === null ? '–' : value.toLocaleString('en-US', { maximumFractionDigits: digits, minimumFractionDigits: digits }))
  const share = (value) => (value === null ? '–' : `${(100 * value).toFixed(0)} %`)
  const lines = entries.map(
    (row) =>
      `| ${row.scenario}, ${row.concurrency ?? 'open loop'} | ${row.engine} | ${row.model}, ${row.dtype ?? '–'} | ${number(row.outputTokensPerSecond, row.outputTokensPerSecond < 100 ? 1 : 0)} | ` +
      `${number(row.wholeRunOutputTokensPerSecond, row.wholeRunOutputTokensPerSecond < 100 ? 1 : 0)} | ${number(row.promptTokensPerSecond)} | ${number(row.ttftP50Ms, 1)} | ${number(row.itlP50Ms, 2)} | ${share(row.shareOfLimit)} | ` +
      `${row.gpuUtilizationMean === null ? '–' : `${row.gpuUtilizationMean.toFixed(0)} %`} | ${row.validity} | ${row.device ?? '–'}${row.gpuUuid === null ? '' : `, card ${row.gpuUuid.slice(4, 8)}`} |`,
  )
  const table = [
    'Measured by `bench run` itself, through HTTP with streaming; the records, with commands and commits, are in `results/reference/`. Random weights are of the real dimensions.',
    '',
    '| scenario, concurrency | engine | model | output tok/s (window) | (whole run) | prompt tok/s | TTFT p50 ms | ITL p50 ms | share of the limit | GPU utilisation | validity | device |',
    '|---|---|---|---|---|---|---|---|---|---|---|---|',
    ...lines,
  ].join('\n')
  const begin = '<!-- figures -->'
  const end = '<!-- end of figures -->'
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from < 0 || to < 0) throw new Error(`README.md lacks ${begin} ... ${end}`)
  writeFileSync(path, `${text.slice(0, from + begin.length)}\n${table}\n${text.slice(to)}`)
}
