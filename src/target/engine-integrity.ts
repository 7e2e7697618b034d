import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import type { RunningTarget } from '../target.js'

const LIMIT_MS = 2000

/**
 * What an engine of ours says of itself once it is idle (GET /v1/engine: every block free or cached, every reference counted): '' when its
 * check found nothing, else the finding; null when the target tells nothing of the kind within two seconds.
 */
export async function engineIntegrity(target: RunningTarget, apiKey: string | null): Promise<string | null> {
  const headers = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }
  const untilMs = performance.now() + LIMIT_MS
  while (performance.now() < untilMs) {
    try {
      const response = await request(`${target.baseUrl}/engine`, {
        headers,
        headersTimeout: LIMIT_MS,
        bodyTimeout: LIMIT_MS,
      })
      const text = await response.body.text()
      if (response.statusCode !== 200) return null
      const { integrity } = (JSON.parse(text) as { stats?: { integrity?: string | null } }).stats ?? {}
      if (typeof integrity === 'string') return integrity
      if (integrity === undefined) return null
    } catch {
      return null
    }
    await sleep(50)
  }
  return null
}
