import type { FrontierPoint } from '../src/result/frontier.js'
import { frontierFinding } from './charts/frontier.js'
import { cleanLine, escapeMarkdown } from './clean.js'
import { mergeReasons, type ReasonLine } from './context.js'
import { counted, formatNumber, formatShare } from './format.js'
import { drawColumns, type TerminalLook, toAscii } from './terminal-columns.js'
import { wrap } from './wrap.js'

const HEAD: [long: string, short: string][] = [
  ['load', 'load'],
  ['target', 'target'],
  ['output tok/s', 'tok/s'],
  ['of the limit', 'limit'],
  ['requests/s', 'req/s'],
  ['TTFT p50 ms', 'TTFT p50'],
  ['ITL p50 ms', 'ITL p50'],
  ['e2e p50 ms', 'e2e p50'],
  ['objectives', 'SLO'],
  ['validity', 'validity'],
]

/** Every run of a sweep as plain text cells. */
export function frontierTable(points: readonly FrontierPoint[]): { head: string[]; rows: string[][] } {
  return {
    head: HEAD.map(([long]) => long),
    rows: points.map((point) => [
      cleanLine(`${point.variable} ${point.value}`, 40),
      cleanLine(point.target, 40),
      formatNumber(point.outputTokensPerSecond),
      formatShare(point.shareOfLimit ?? null),
      formatNumber(point.requestsPerSecond),
      formatNumber(point.ttftP50Ms),
      formatNumber(point.itlP50Ms),
      formatNumber(point.e2eP50Ms),
      point.slo.length === 0 ? 'none set' : point.meetsSlo ? 'met' : 'missed',
      cleanLine(point.validity, 20),
    ]),
  }
}

/** '6 of 8 runs VALID'. */
export function validRuns(points: readonly FrontierPoint[]): string {
  const valid = points.filter((point) => point.validity === 'VALID').length
  return `${valid} of ${counted(points.length, 'run')} VALID`
}

/** Why runs do not count, with the fix, and which objectives were missed. */
export function frontierReasons(points: readonly FrontierPoint[]): ReasonLine[] {
  return mergeReasons(
    points.flatMap((point) =>
      (point.reasons ?? []).map((reason) =>
        reason.severity === 'note'
          ? reason
          : { ...reason, evidence: `${point.variable} ${point.value}: ${reason.evidence}` },
      ),
    ),
  )
}

export function missedObjectives(points: readonly FrontierPoint[]): string[] {
  return points
    .filter((point) => !point.meetsSlo && point.slo.length > 0)
    .map((point) => cleanLine(`${point.variable} ${point.value}, ${point.target}: ${point.slo.join('; ')}`))
}

export function renderFrontierTerminal(points: readonly FrontierPoint[], look: TerminalLook): string {
  const { rows } = frontierTable(points)
  const head = HEAD.map(([, short]) => short)
  const width = Math.max(40, look.width)
  const lines = [
    ...wrap(`${frontierFinding(points)}; ${validRuns(points)}`, width),
    '',
    ...drawColumns(head, rows, [0, 1, 8, 9], width),
    ...wrap('output tok/s with its share of the limit; latencies in ms', width),
    ...frontierReasons(points).flatMap(({ text, fix, severity }) => [
      ...wrap(`${severity} ${text}`, width, 2),
      ...wrap(`fix: ${fix}`, width - 2, 5).map((line) => `  ${line}`),
    ]),
    ...missedObjectives(points).flatMap((line) => wrap(`missed ${line}`, width, 2)),
  ]
  const text = `${lines.join('\n')}\n`
  return look.ascii ? toAscii(text) : text
}

export function renderFrontierMarkdown(id: string, points: readonly FrontierPoint[]): string {
  const { head, rows } = frontierTable(points)
  const line = (cells: readonly string[]) => `| ${cells.map(escapeMarkdown).join(' | ')} |`
  return `${[
    '<!-- pagedbench -->',
    `**${escapeMarkdown(frontierFinding(points))}**`,
    `Sweep ${escapeMarkdown(id)}: ${validRuns(points)}`,
    [line(head), `| --- | --- |${' ---: |'.repeat(6)} --- | --- |`, ...rows.map(line)].join('\n'),
    [
      ...frontierReasons(points).map(
        ({ text, fix, severity }) => `- ${severity} ${escapeMarkdown(text)} (fix: ${escapeMarkdown(fix)})`,
      ),
      ...missedObjectives(points).map((text) => `- missed ${escapeMarkdown(text)}`),
    ].join('\n'),
  ]
    .filter((part) => part !== '')
    .join('\n\n')}\n`
}

export function renderFrontierJson(points: readonly FrontierPoint[]): string {
  return `${JSON.stringify({ schema: 'pagedbench/frontier@1', finding: frontierFinding(points), rows: points }, null, 2)}\n`
}
