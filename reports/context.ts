import type { TargetInfo, ValidityReason } from '../src/result/schema.js'
import { cleanLine } from './clean.js'
import { clientShare } from './client.js'
import { counted, formatBytes, formatCount } from './format.js'
import type { ReportInput } from './input.js'

/** What a figure means nothing without: load, device, weights, dtype, token source. Label and plain text. */
export function contextLines(input: ReportInput): [label: string, text: string][] {
  const { manifest } = input.run
  const { environment, targets, telemetry } = manifest
  const lines: [string, string][] = [
    ['scenario', manifest.scenarioLine],
    [
      'plan',
      `${counted(manifest.planRequests, 'request')}, sha256 ${manifest.planHash.slice(0, 12)}, the same for every target`,
    ],
    ...merged(targets, 'model', (target) => target.model),
    ...merged(targets, 'device', deviceOf),
    ...merged(
      targets,
      'weights',
      (target) => [target.weights, target.dtype].filter(Boolean).join(', ') || 'not told by the server',
    ),
    ...merged(targets, 'tokens', (target) => `counted from ${target.tokenSource}`),
    [
      'host',
      `${environment.cpu}, ${counted(environment.cores, 'core')}, ${formatBytes(environment.memoryBytes)}, ${environment.os}, Node ${environment.node}`,
    ],
  ]
  if (telemetry?.gpu) lines.push(['gpu', `${telemetry.gpu.name}, driver ${telemetry.gpu.driver}`])
  lines.push(['client', clientShare(input).sentence])
  return lines.map(([label, text]) => [label, cleanLine(text, 500)])
}

export interface ReasonLine {
  text: string
  fix: string
  severity: ValidityReason['severity']
}

const SEVERITIES: ValidityReason['severity'][] = ['invalid', 'no-steady-state', 'unverified', 'note']
/** Blocks that fail one rule share a line; more of them than this are only counted. */
const MAX_EVIDENCE = 3

/** Validity reasons, worst first, each with its fix; one line per rule. */
export function reasonLines({ summary }: ReportInput): ReasonLine[] {
  return mergeReasons([...summary.verdict.reasons, ...summary.targets.flatMap((target) => target.verdict.reasons)])
}

/** Worst first; one line per rule, with the evidence of some of the blocks or runs that it is about. */
export function mergeReasons(reasons: readonly ValidityReason[]): ReasonLine[] {
  const rules = new Map<string, { reason: ValidityReason; evidence: Set<string> }>()
  for (const reason of reasons) {
    const key = `${reason.severity} ${reason.code} ${reason.fix}`
    const rule = rules.get(key) ?? { reason, evidence: new Set() }
    rules.set(key, rule)
    rule.evidence.add(cleanLine(reason.evidence))
  }
  return [...rules.values()]
    .sort((a, b) => SEVERITIES.indexOf(a.reason.severity) - SEVERITIES.indexOf(b.reason.severity))
    .map(({ reason, evidence }) => {
      const shown = [...evidence].slice(0, MAX_EVIDENCE)
      const more = evidence.size > shown.length ? `; and ${evidence.size - shown.length} more` : ''
      const text = `${cleanLine(reason.code, 40)}: ${shown.join('; ')}${more}`
      return { text, fix: cleanLine(reason.fix), severity: reason.severity }
    })
}

/** Notices and what could not be read, without repeats. */
export function noticeLines({ run, summary }: ReportInput): string[] {
  return [...new Set([...summary.notices, ...run.manifest.notices, ...run.damage])].map((line) => cleanLine(line))
}

export function validityLine({ run, summary }: ReportInput): string {
  const partial = run.manifest.status === 'complete' ? '' : ' (PARTIAL: the run did not end)'
  const blocks = counted(summary.blocks.length, 'block')
  return `${summary.verdict.validity}${partial}: ${blocks}, ${formatCount(summary.blocks.reduce((sum, block) => sum + block.requestsOk, 0))} requests completed`
}

function deviceOf(target: TargetInfo): string {
  const where = target.device ?? 'not told by the server'
  return target.backend === null ? where : `${where} (${target.backend} kernels)`
}

/** One line when all targets agree, else one for each group of targets that do. */
function merged(
  targets: readonly TargetInfo[],
  label: string,
  pick: (target: TargetInfo) => string,
): [string, string][] {
  const texts = targets.map(pick)
  if (new Set(texts).size <= 1) return texts.length === 0 ? [] : [[label, texts[0]!]]
  return [...new Set(texts)].map((text) => {
    const names = targets.filter((_, index) => texts[index] === text).map((target) => target.name)
    return [label, `${names.join(', ')}: ${text}`]
  })
}
