import { conformanceSuite } from './conformance/suite.js'
import type { Target, TargetOptions } from './conformance/target.js'
import { startEngineProcess } from './engine-process.js'

const KV_BYTES_PER_TOKEN = 2048

/** The same cases against both engines on the CPU kernels, each in its own process. */
for (const engine of ['paged', 'static']) {
  conformanceSuite(`${engine} engine`, async (options: TargetOptions = {}): Promise<Target> => {
    const { apiKey, kvTokens } = options
    const args = ['--engine', engine, '--model', 'tiny', '--dtype', 'f32', '--max-model-len', '512']
    args.push('--static-max-wait-ms', '2', '--batch-size', '8')
    args.push('--kv-cache-bytes', String((kvTokens ?? 8192) * 2 * KV_BYTES_PER_TOKEN))
    if (options.allowedOrigins) args.push('--allowed-origins', options.allowedOrigins.join())
    if (options.maxBodyBytes) args.push('--max-body-bytes', String(options.maxBodyBytes))
    const { url, port, model, info, stop } = await startEngineProcess(args, apiKey ? { BENCH_API_KEY: apiKey } : {})
    return {
      url,
      port,
      model,
      maxModelLen: info.maxModelLen,
      vocabSize: info.vocabSize,
      script: null,
      // A static slot always holds the whole context.
      pooledKv: engine === 'paged',
      close: stop,
    }
  })
}
