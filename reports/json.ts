import type { RunManifest, Summary } from '../src/result/schema.js'
import { headline } from './headline.js'
import type { ReportInput } from './input.js'

/** What `--json` prints: every derived number, what it was measured on, and the finding in words. */
export interface JsonReport {
  schema: 'pagedbench/report@1'
  finding: string
  manifest: RunManifest
  summary: Summary
}

export function renderJson(input: ReportInput): string {
  const report: JsonReport = {
    schema: 'pagedbench/report@1',
    finding: headline(input),
    manifest: input.run.manifest,
    summary: input.summary,
  }
  return JSON.stringify(report, null, 2) + '\n'
}
