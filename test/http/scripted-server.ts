import { EngineServer, type ServerOptions } from '../../engines/http/server.js'
import { byteCodec, plainTemplate } from './byte-codec.js'
import { ScriptedEngine, type ScriptOptions } from './scripted-engine.js'

export const MODEL = 'scripted-model'

export interface ScriptedServer {
  url: string
  port: number
  server: EngineServer
  engine: ScriptedEngine
  errors: unknown[]
  close(): Promise<void>
}

const DEFAULTS: ServerOptions = {
  host: '127.0.0.1',
  port: 0,
  apiKey: null,
  allowedHosts: [],
  allowedOrigins: [],
  openMetrics: false,
  maxBodyBytes: 4 * 2 ** 20,
  maxQueue: 4096,
  pingMs: 0,
  stallTimeoutMs: 0,
  maxBufferedBytes: 2 ** 20,
  drainTimeoutMs: 2000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
}

/** The real server over a scripted engine, on a free loopback port. */
export async function startScripted(
  options: Partial<ServerOptions> = {},
  script: ScriptOptions = {},
): Promise<ScriptedServer> {
  const errors: unknown[] = []
  const engine = new ScriptedEngine(script)
  const server = new EngineServer({ ...DEFAULTS, ...options }, (error) => errors.push(error))
  const url = await server.listen()
  server.serve({
    engine,
    codec: byteCodec,
    chatTemplate: plainTemplate,
    modelName: MODEL,
    created: Math.floor(Date.now() / 1000),
  })
  return { url, port: Number(new URL(url).port), server, engine, errors, close: () => server.close() }
}
