import { conformanceSuite } from './conformance/suite.js'
import type { Target, TargetOptions } from './conformance/target.js'
import { MODEL, startScripted } from './scripted-server.js'

conformanceSuite('scripted engine', async (options: TargetOptions = {}): Promise<Target> => {
  const { pingSecs, kvTokens, stepMs, ...server } = options
  const { url, port, engine, close } = await startScripted(
    { ...server, apiKey: server.apiKey ?? null, pingMs: (pingSecs ?? 0) * 1000 },
    { ...(kvTokens === undefined ? {} : { kvTokens }), ...(stepMs === undefined ? {} : { stepMs }) },
  )
  return {
    url,
    port,
    model: MODEL,
    maxModelLen: engine.info.maxModelLen,
    vocabSize: engine.info.vocabSize,
    script: {
      kill: () => engine.kill('scripted death'),
      pause: () => {
        engine.paused = true
      },
      resume: () => engine.resume(),
    },
    pooledKv: true,
    close,
  }
})
