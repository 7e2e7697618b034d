import type { PresetName } from './presets.js'

/** Where a model comes from, settled: plain data, so that it passes to the engine's worker thread. */
export type ModelSource = PresetSource | CheckpointSource

interface SourceBase {
  /** What /v1/models shows. */
  id: string
  /** What the user must be told (a fallback was taken); null: nothing. */
  notice: string | null
}

export interface PresetSource extends SourceBase {
  kind: 'preset'
  preset: PresetName
  /** Of the random weights. */
  seed: number
}

export interface CheckpointSource extends SourceBase {
  kind: 'checkpoint'
  /** A directory or a .gguf file. */
  path: string
}
