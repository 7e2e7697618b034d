import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Journal } from '../result/journal.js'
import { readMetrics } from '../target/metrics-page.js'
import type { RunningTarget } from '../target.js'

/** A server may count its last answer a moment after the client has it. */
const SETTLE_MS = 250

/**
 * Drives the load between two readings of an external server's own /metrics, both stored as they came (server-metrics.jsonl): before the
 * first request, warm-up included, and after the last answer, so that reading them disturbs nothing that is measured. A built-in engine's
 * step trace tells more: it is not asked. What the server does not tell is a reason in the file, never an error.
 */
export async function betweenReadings<T>(
  target: RunningTarget,
  apiKey: string | null,
  folder: string,
  drive: () => Promise<T>,
): Promise<T> {
  if (target.info.kind !== 'external') return drive()
  const journal = new Journal(join(folder, 'server-metrics.jsonl'))
  try {
    journal.append(await readMetrics(target.baseUrl, apiKey, 'before'))
    const result = await drive()
    await sleep(SETTLE_MS)
    journal.append(await readMetrics(target.baseUrl, apiKey, 'after'))
    return result
  } finally {
    journal.close()
  }
}
