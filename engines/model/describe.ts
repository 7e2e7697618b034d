import { statSync } from 'node:fs'
import { loadChatTemplate } from './chat-template.js'
import { type Checkpoint, openCheckpoint } from './checkpoint.js'
import type { ModelConfig } from './config.js'
import { fingerprint } from './fingerprint.js'
import { loadTokenizer } from './load-tokenizer.js'
import { PRESETS } from './presets.js'
import { randomFingerprint } from './random-weights.js'
import { decodeWeightBytes, flopsPerToken, kvBytesPerToken, parameterCount } from './sizes.js'
import type { ModelSource } from './source.js'

const BF16_BYTES = 2

/** What `bench model show` prints. */
export interface ModelDescription {
  id: string
  /** A directory or .gguf file; null for a preset. */
  path: string | null
  /** 'real' or 'random (seed N)'. */
  weights: string
  sha256: string
  fileBytes: number
  /** Tensors by stored type. */
  storedAs: Record<string, number>
  parameters: number
  config: ModelConfig
  tokenizer: 'own' | 'bytes'
  chatTemplate: boolean
  /** In bf16. */
  decodeWeightBytes: number
  kvBytesPerToken: number
  flopsPerToken: number
  notice: string | null
}

/** Reads headers and hashes the files. Throws ModelError. */
export function describeModel(source: ModelSource): ModelDescription {
  if (source.kind === 'preset') return describePreset(source)
  const checkpoint = openCheckpoint(source.path)
  try {
    return describeCheckpoint(source.id, checkpoint, source.notice)
  } finally {
    checkpoint.close()
  }
}

function describePreset(source: Extract<ModelSource, { kind: 'preset' }>): ModelDescription {
  const config: ModelConfig = PRESETS[source.preset]
  return {
    id: source.id,
    path: null,
    weights: `random (seed ${source.seed})`,
    sha256: randomFingerprint(config, source.seed),
    fileBytes: 0,
    storedAs: {},
    ...figures(config),
    tokenizer: 'bytes',
    chatTemplate: false,
    notice: source.notice,
  }
}

function describeCheckpoint(id: string, checkpoint: Checkpoint, notice: string | null): ModelDescription {
  const { config, files, path } = checkpoint
  const tokenizer = loadTokenizer(config, checkpoint)
  const storedAs: Record<string, number> = {}
  for (const { dtype } of checkpoint.tensors.values()) storedAs[dtype] = (storedAs[dtype] ?? 0) + 1
  return {
    id,
    path,
    weights: 'real',
    sha256: fingerprint(files),
    fileBytes: files.reduce((sum, file) => sum + statSync(file).size, 0),
    storedAs,
    ...figures(config),
    tokenizer: tokenizer.kind,
    chatTemplate: loadChatTemplate(checkpoint, tokenizer).source !== null,
    notice,
  }
}

function figures(config: ModelConfig) {
  return {
    parameters: parameterCount(config),
    config,
    decodeWeightBytes: decodeWeightBytes(config, BF16_BYTES),
    kvBytesPerToken: kvBytesPerToken(config, BF16_BYTES),
    flopsPerToken: flopsPerToken(config),
  }
}
