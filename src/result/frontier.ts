import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { Failure } from '../failure.js'

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

function parseJson(text: string, context: z.RefinementCtx): unknown {
  try {
    return JSON.parse(text)
  } catch {
    context.addIssue({ code: 'custom', message: 'is not valid JSON' })
    return z.NEVER
  }
}
