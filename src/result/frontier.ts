import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { Failure } from '../failure.js'
import { judgeSlo } from '../metrics/slo.js'
import type { Scenario } from '../scenario/types.js'
import { type RunData, readRun } from './read.js'
import type { Summary } from './schema.js'
import { summarize } from './summarize.js'

/** One load of a sweep or search, for one target; each load is a run of its own in `folder`. */
const rowShape = z.looseObject({
  variable: z.string(),
  value: z.number(),
  target: z.string(),
  outputTokensPerSecond: z.number().nullable(),
  requestsPerSecond: z.number().nullable(),
  ttftP50Ms: z.number().nullable(),
  itlP50Ms: z.number().nullable(),
  e2eP50Ms: z.number().nullable(),
  meetsSlo: z.boolean(),
  slo: z.array(z.string()),
  validity: z.string(),
  /** Absent in sweeps of before. */
  shareOfLimit: z.number().nullable().optional(),
  reasons: z
    .array(
      z.object({
        code: z.string(),
        severity: z.enum(['invalid', 'unverified', 'no-steady-state', 'note']),
        evidence: z.string(),
        fix: z.string(),
      }),
    )
    .optional(),
  folder: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/),
})
export type FrontierPoint = z.infer<typeof rowShape>

const fileShape = z.looseObject({ schema: z.literal('pagedbench/frontier@1'), rows: z.array(rowShape) })

/** The loads of a sweep's folder, or null when the folder is no sweep. Throws Failure('bad-result'). */
export function readFrontier(directory: string): FrontierPoint[] | null {
  const path = join(directory, 'frontier.json')
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return null
    throw new Failure('bad-result', `cannot read ${path}`, null, { cause })
  }
  const parsed = z.string().transform(parseJson).pipe(fileShape).safeParse(text)
  if (!parsed.success) throw new Failure('bad-result', `${path}: ${z.prettifyError(parsed.error)}`)
  return parsed.data.rows
}

/** One finished load's points, one a target, from its raw records and its summary. */
export function frontierPoints(
  load: Pick<FrontierPoint, 'variable' | 'value' | 'folder'>,
  data: RunData,
  summary: Summary,
): FrontierPoint[] {
  const { slo } = data.manifest.scenario as unknown as Scenario
  return summary.targets.map((target) => {
    const block = data.blocks.find((entry) => entry.manifest.target === target.target)
    const judged = judgeSlo(block?.records ?? [], slo)
    const metrics = summary.blocks.find((entry) => entry.target === target.target)
    return {
      variable: load.variable,
      value: load.value,
      target: target.target,
      outputTokensPerSecond: target.outputTokensPerSecond,
      requestsPerSecond: metrics?.requestsPerSecond ?? null,
      ttftP50Ms: target.ttftP50Ms,
      itlP50Ms: target.itlP50Ms,
      e2eP50Ms: target.e2eP50Ms,
      meetsSlo: judged.meets,
      slo: judged.lines,
      validity: target.verdict.validity,
      shareOfLimit: target.shareOfLimit,
      reasons: target.verdict.reasons,
      folder: load.folder,
    }
  })
}

/** A sweep's points computed again from its runs; the stored ones where a run's folder is gone. */
export function recomputeFrontier(directory: string, points: readonly FrontierPoint[]): FrontierPoint[] {
  const loads = new Map(points.map((point) => [point.folder, point]))
  return [...loads.values()].flatMap((load) => {
    const folder = join(directory, load.folder)
    if (!existsSync(join(folder, 'manifest.json'))) return points.filter((point) => point.folder === load.folder)
    const data = readRun(folder)
    return frontierPoints(load, data, summarize(data))
  })
}

function parseJson(text: string, context: z.RefinementCtx): unknown {
  try {
    return JSON.parse(text)
  } catch {
    context.addIssue({ code: 'custom', message: 'is not valid JSON' })
    return z.NEVER
  }
}
