import type { EngineInfo, GenerationRequest } from './engine.js'
import type { EngineErrorCode } from './engine-error.js'
import type { ModelSource } from './model/source.js'
import type { EngineOptions } from './options.js'
import type { OutputMessage } from './output-batch.js'

/** What the engine's worker is started with. */
export interface WorkerInput {
  options: EngineOptions
  source: ModelSource
  /** StatsBlock's memory. */
  stats: SharedArrayBuffer
  /** int32 [1]: counts the commands posted; the worker sleeps on it. */
  doorbell: SharedArrayBuffer
}

/** Main thread to worker. The prompt travels as a typed array: it is cloned several times faster. */
export type Command =
  | { kind: 'submit'; handle: number; request: Omit<GenerationRequest, 'promptTokenIds'>; prompt: Int32Array }
  | { kind: 'abort'; id: string }
  | { kind: 'close' }

/** Worker to main thread. */
export type Report =
  | OutputMessage
  | { kind: 'progress'; detail: string }
  | { kind: 'ready'; info: EngineInfo }
  /** checkIntegrity() at an idle moment: '' = sound. */
  | { kind: 'integrity'; finding: string }
  /** The engine cannot start, or is dead: nothing follows. */
  | { kind: 'dead'; code: EngineErrorCode; detail: string }
