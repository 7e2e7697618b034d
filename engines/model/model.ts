import type { Kernels } from '../../kernels/binding.js'
import { type ChatTemplate, loadChatTemplate } from './chat-template.js'
import { openCheckpoint } from './checkpoint.js'
import type { ModelConfig } from './config.js'
import { loadTokenizer } from './load-tokenizer.js'
import { PRESETS } from './presets.js'
import { randomWeights } from './random-weights.js'
import type { ModelSource } from './source.js'
import type { Tokenizer } from './tokenizer.js'
import { loadWeights, type ModelWeights } from './weights.js'

/** A model without its weights: what the HTTP side needs. */
export interface Model {
  source: ModelSource
  config: ModelConfig
  tokenizer: Tokenizer
  chatTemplate: ChatTemplate
}

/** Reads configuration, tokenizer and chat template. Throws ModelError. */
export function openModel(source: ModelSource): Model {
  if (source.kind === 'preset') {
    const config = PRESETS[source.preset]
    const tokenizer = loadTokenizer(config, null)
    return { source, config, tokenizer, chatTemplate: loadChatTemplate(null, tokenizer) }
  }
  const checkpoint = openCheckpoint(source.path)
  try {
    const tokenizer = loadTokenizer(checkpoint.config, checkpoint)
    const chatTemplate = loadChatTemplate(checkpoint, tokenizer)
    return { source, config: checkpoint.config, tokenizer, chatTemplate }
  } finally {
    checkpoint.close()
  }
}

/** The configuration alone: headers only. Throws ModelError. */
export function readModelConfig(source: ModelSource): ModelConfig {
  if (source.kind === 'preset') return PRESETS[source.preset]
  const checkpoint = openCheckpoint(source.path)
  checkpoint.close()
  return checkpoint.config
}

/** Puts the weights into device memory: those of the checkpoint, or seeded random ones. Throws ModelError, KernelError. */
export function loadModelWeights(kernels: Kernels, source: ModelSource): ModelWeights {
  if (source.kind === 'preset') return randomWeights(kernels, PRESETS[source.preset], source.seed)
  const checkpoint = openCheckpoint(source.path)
  try {
    return loadWeights(kernels, checkpoint)
  } finally {
    checkpoint.close()
  }
}
