import { basename, join, relative, resolve } from 'node:path'
import { renderFrontierHtml } from '../../reports/frontier.js'
import { renderFrontierJson, renderFrontierMarkdown, renderFrontierTerminal } from '../../reports/frontier-text.js'
import { renderHtml } from '../../reports/html.js'
import type { ReportInput } from '../../reports/input.js'
import { renderJson } from '../../reports/json.js'
import { renderJunit } from '../../reports/junit.js'
import { renderMarkdown } from '../../reports/markdown.js'
import type { ReportData } from '../../reports/page/requests.js'
import { renderTerminal } from '../../reports/terminal.js'
import { Failure, nearest } from '../failure.js'
import { type FrontierPoint, readFrontier, recomputeFrontier } from '../result/frontier.js'
import { readRun } from '../result/read.js'
import { writeAtomically } from '../result/store.js'
import { summarize } from '../result/summarize.js'

export interface ReportOptions {
  /** 'html' writes files; 'markdown', 'junit', 'json' and 'table' go to `out`, or to stdout. */
  format?: string
  /** Where the result goes instead of the run's folder or stdout; one run only. */
  out?: string
  /** What of the raw records travels inside the page: 'auto', 'summary', 'requests' or 'tokens'. */
  reportData?: string
  /** Prompts and answers go into the page too. */
  includeText?: boolean
  ascii?: boolean
  /** With 'table', which it makes the default: the engine's own time per step too. */
  details?: boolean
  color?: boolean
}

/**
 * `bench report`: every number computed again from the stored raw records. With 'html', summary.json, report.md and report.html are
 * rewritten. A run that was killed is reported as far as it came, marked PARTIAL. The folder of a sweep gets one page over all its
 * runs. Throws Failure('usage' | 'bad-result' | 'disk').
 */
export async function reportCommand(runs: string | readonly string[], options: ReportOptions = {}): Promise<void> {
  const directories = typeof runs === 'string' ? [runs] : runs
  const format = oneOf('--format', options.format ?? (options.details ? 'table' : 'html'), FORMATS)
  if (options.details && format !== 'table')
    throw new Failure('usage', `--details goes with --format table, not ${format}`, 'leave one of them out')
  const data = oneOf('--report-data', options.reportData ?? 'auto', REPORT_DATA)
  if (options.out !== undefined && directories.length !== 1)
    throw new Failure('usage', '--out names one file, but several runs were given', 'leave it out, or give one run')
  for (const directory of directories) {
    const stored = readFrontier(directory)
    if (stored !== null) {
      const points = recomputeFrontier(directory, stored)
      if (format === 'html') await writeFrontierPage(directory, points, options.out)
      else deliver(frontierText(directory, points, format, options), options.out)
      continue
    }
    const run = readRun(directory)
    const input = { run, summary: summarize(run) }
    if (format === 'html') await writePage(input, options.out, { data, includeText: options.includeText ?? false })
    else deliver(renderText(input, format, options), options.out)
  }
}

const FORMATS = ['html', 'markdown', 'junit', 'json', 'table'] as const
const REPORT_DATA = ['auto', 'summary', 'requests', 'tokens'] as const satisfies readonly ReportData[]

function oneOf<T extends string>(flag: string, text: string, known: readonly T[]): T {
  const found = known.find((name) => name === text)
  if (found !== undefined) return found
  const guess = nearest(text, known)
  const fix = guess === null ? `one of ${known.join(', ')}` : `did you mean ${guess}?`
  throw new Failure('usage', `${flag} ${JSON.stringify(text)} is not known`, fix)
}

async function writePage(
  input: ReportInput,
  out: string | undefined,
  page: { data: ReportData; includeText: boolean },
): Promise<void> {
  const { directory } = input.run
  const path = out ?? join(directory, 'report.html')
  const html = await renderHtml(input, page)
  writeAtomically(join(directory, 'summary.json'), JSON.stringify(input.summary, null, 2) + '\n')
  writeAtomically(join(directory, 'report.md'), renderMarkdown(input))
  writeAtomically(path, html)
  process.stderr.write(`report  ${relative(process.cwd(), path)}\n`)
}

/** The frontier of a sweep; a sweep that has not finished a run yet has none. */
export async function writeFrontierPage(
  directory: string,
  points: readonly FrontierPoint[],
  out?: string,
): Promise<void> {
  const first = points[0]
  if (first === undefined)
    throw new Failure('bad-result', `${directory}: no load of the sweep has finished`, 'run it again: it resumes')
  const run = readRun(join(directory, first.folder))
  const path = out ?? join(directory, 'report.html')
  writeAtomically(
    path,
    await renderFrontierHtml(basename(resolve(directory)), points, { run, summary: summarize(run) }),
  )
  process.stderr.write(`report  ${relative(process.cwd(), path)}\n`)
}

function renderText(
  input: ReportInput,
  format: Exclude<(typeof FORMATS)[number], 'html'>,
  options: ReportOptions,
): string {
  if (format === 'json') return renderJson(input)
  if (format === 'markdown') return renderMarkdown(input)
  if (format === 'junit') return renderJunit(input)
  const color = options.color ?? (process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined)
  const { ascii = false, details = false } = options
  return renderTerminal(input, { width: process.stdout.columns ?? 100, color, ascii, details })
}

function frontierText(
  directory: string,
  points: readonly FrontierPoint[],
  format: Exclude<(typeof FORMATS)[number], 'html'>,
  options: ReportOptions,
): string {
  if (format === 'json') return renderFrontierJson(points)
  if (format === 'markdown') return renderFrontierMarkdown(basename(resolve(directory)), points)
  if (format === 'junit')
    throw new Failure(
      'usage',
      `${directory} is a sweep: JUnit is of one run`,
      `give one of its folders: ${points[0]?.folder ?? ''}`,
    )
  const { ascii = false } = options
  return renderFrontierTerminal(points, { width: process.stdout.columns ?? 100, color: false, ascii })
}

function deliver(text: string, out: string | undefined): void {
  if (out === undefined) process.stdout.write(text)
  else writeAtomically(out, text)
}
