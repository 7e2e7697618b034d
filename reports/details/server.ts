import type { ServerCount, ServerPartName, ServerSplit } from '../../src/result/server-view.js'
import { cleanLine } from '../clean.js'
import { ABSENT, formatCount, formatNumber, formatShare } from '../format.js'
import { type ReportInput, targetViews } from '../input.js'
import type { DetailTable } from './table.js'

const PARTS: [ServerPartName, string][] = [
  ['queue', 'queue'],
  ['prefill', 'prefill'],
  ['inference', 'inference'],
  ['decode', 'decode'],
  ['ttft', 'its own TTFT'],
]

/** What external servers' own /metrics say of the same requests; null when none was asked. */
export function serverTable(input: ReportInput): DetailTable | null {
  const views = targetViews(input).flatMap(({ info, blocks }) =>
    blocks.flatMap(({ block, serverSplit: split }) =>
      split ? [{ name: cleanLine(info.name, 40), block, split }] : [],
    ),
  )
  if (views.length === 0) return null
  const shown = PARTS.filter(([part]) => views.some(({ split }) => split.parts.some((one) => one.part === part)))
  const told = views.filter(({ split }) => split.parts.length > 0)
  return {
    id: 'server-split',
    title: 'Where the time goes, by the server’s own /metrics',
    head: [
      'mean, ms',
      ...shown.map(([, label]) => label),
      'client’s TTFT',
      'rest',
      'prefix hits',
      'it counts',
      'we sent',
    ],
    rows: told.map(({ name, block, split }) => [
      `${name}, block ${block}`,
      ...shown.map(([name]) => formatNumber(split.parts.find(({ part }) => part === name)?.meanMs ?? null)),
      formatNumber(split.clientTtftMs),
      formatNumber(split.restMs),
      formatShare(split.prefixHitShare),
      split.count === null ? ABSENT : `${formatCount(split.count.server)} ${split.count.unit}`,
      split.count === null ? ABSENT : sentText(split.count),
    ]),
    words: [],
    notes: [...new Set(views.flatMap(({ name, block, split }) => notesOf(`${name}, block ${block}`, split)))],
  }
}

const sentText = ({ least, most }: ServerCount): string =>
  least === most ? formatCount(most) : `${formatCount(least)} to ${formatCount(most)}`

function notesOf(where: string, split: ServerSplit): string[] {
  const { server, count, why, cannotSay } = split
  const url = cleanLine(split.url, 120)
  if (split.parts.length === 0)
    return [`${where}: ${url} says nothing of it: ${cleanLine(why ?? 'no reason known', 200)}.`]
  const metrics = split.parts.map(({ part, metric }) => `${part} ${metric}`).join(', ')
  const included =
    count === null
      ? ''
      : ` Included: ${formatCount(count.warmupRequests)} requests of warm-up and ${formatCount(count.measuredRequests)} measured.`
  return [
    `Read from ${url} (${server}) before the block’s first request and after its last answer; the difference is all that was asked in between.${included}`,
    `Names: ${metrics}${count === null ? '' : `; its count: ${count.metric}`}.`,
    ...countNotes(where, count),
    ...(split.restMs === null
      ? []
      : [
          `Client’s TTFT: mean, from due time to first token. Rest: what of it ${split.parts.some(({ part }) => part === 'queue') ? 'queue and prefill leave' : 'prefill leaves'}: client late, network, HTTP, tokenising, flush${split.parts.some(({ part }) => part === 'queue') ? '' : ', queue'}.`,
        ]),
    ...cannotSay,
  ]
}

function countNotes(where: string, count: ServerCount | null): string[] {
  if (count === null || count.verdict === 'agrees') return []
  return count.verdict === 'other clients'
    ? [
        `${where}: the server counted more than this client sent: other clients used it meanwhile, and the figures are of both.`,
      ]
    : [
        `${where}: the server counted fewer than ended well here: its counters are late, or of one of several processes.`,
      ]
}
