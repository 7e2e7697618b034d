import { startNullServer } from '../load/null-process.js'
import { requestCeiling } from '../load/request-ceiling.js'
import type { StoredCeiling } from '../result/server-view.js'
import type { RunWriter } from '../result/store.js'
import type { RunningTarget } from '../target.js'

interface CeilingLoad {
  connections: number
  durationSecs: number
}

/** The null server's: how many requests this machine's HTTP can pass when the server does nothing. */
export async function nullCeiling(load: CeilingLoad): Promise<StoredCeiling> {
  const server = await startNullServer({ ttftMs: 0, itlMs: 0, tokensPerFrame: 1 })
  try {
    const found = await requestCeiling({ ...load, baseUrl: server.url, apiKey: null, model: 'null' })
    return { target: null, ...load, ...found }
  } finally {
    server.close()
  }
}

export async function targetCeiling(
  target: { name: string; baseUrl: string; model: string },
  apiKey: string | null,
  load: CeilingLoad,
): Promise<StoredCeiling> {
  const { name, baseUrl, model } = target
  return { target: name, ...load, ...(await requestCeiling({ ...load, baseUrl, apiKey, model })) }
}

/**
 * --request-ceiling: after the load of a target's first block, so that nothing measured is touched; the null server's once a run. Stored in the
 * manifest.
 */
export async function recordCeiling(
  run: RunWriter,
  target: RunningTarget,
  apiKey: string | null,
  load: { connections: number; durationSecs: number | null },
): Promise<void> {
  const { durationSecs, connections } = load
  const known = run.manifest.requestCeilings ?? []
  if (durationSecs === null || known.some((one) => one.target === target.info.name)) return
  const asked = { connections, durationSecs }
  const found = known.length > 0 ? [] : [await nullCeiling(asked)]
  const { name, model } = target.info
  found.push(await targetCeiling({ name, model, baseUrl: target.baseUrl }, apiKey, asked))
  run.updateManifest({ requestCeilings: [...known, ...found] })
}
