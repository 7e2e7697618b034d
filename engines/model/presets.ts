import type { ModelConfig } from './config.js'

/**
 * Dimensions of known models and two small ones for tests (their output matrix is not tied: a tied one with random weights repeats
 * its input for ever); with a preset the weights are seeded random, made on the device.
 */
export const PRESETS = {
  /** 5.2 M parameters, grouped-query ratio 2. */
  tiny: config({
    hiddenSize: 256,
    intermediateSize: 768,
    layers: 4,
    heads: 4,
    kvHeads: 2,
    vocabSize: 4096,
    maxPositions: 4096,
    ropeTheta: 10_000,
    ...byteVocabulary(),
  }),
  /** 3.9 M parameters, biases on q, k, v, grouped-query ratio 3. */
  'tiny-qwen2': config({
    architecture: 'qwen2',
    hiddenSize: 192,
    intermediateSize: 640,
    layers: 4,
    heads: 6,
    kvHeads: 2,
    vocabSize: 4096,
    maxPositions: 4096,
    ropeTheta: 1_000_000,
    rmsNormEps: 1e-6,
    qkvBias: true,
    ...byteVocabulary(),
  }),
  'smollm2-135m': config({
    hiddenSize: 576,
    intermediateSize: 1536,
    layers: 30,
    heads: 9,
    kvHeads: 3,
    vocabSize: 49_152,
    maxPositions: 8192,
    ropeTheta: 100_000,
    tiedEmbeddings: true,
    ...byteVocabulary(),
  }),
  'llama-3.2-1b': config({
    hiddenSize: 2048,
    intermediateSize: 8192,
    layers: 16,
    heads: 32,
    kvHeads: 8,
    vocabSize: 128_256,
    maxPositions: 131_072,
    ropeTheta: 500_000,
    ropeScaling: { type: 'llama3', factor: 32, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 8192 },
    tiedEmbeddings: true,
    ...byteVocabulary(),
  }),
  'llama-3-8b': config({
    hiddenSize: 4096,
    intermediateSize: 14_336,
    layers: 32,
    heads: 32,
    kvHeads: 8,
    headDim: 128,
    vocabSize: 128_256,
    maxPositions: 8192,
    ropeTheta: 500_000,
    ...byteVocabulary(),
  }),
} as const satisfies Record<string, ModelConfig>

export type PresetName = keyof typeof PRESETS

export function isPresetName(name: string): name is PresetName {
  return Object.hasOwn(PRESETS, name)
}

type Dimensions =
  | 'hiddenSize'
  | 'intermediateSize'
  | 'layers'
  | 'heads'
  | 'kvHeads'
  | 'vocabSize'
  | 'maxPositions'
  | 'ropeTheta'

function config(given: Pick<ModelConfig, Dimensions> & Partial<ModelConfig>): ModelConfig {
  return {
    architecture: 'llama',
    headDim: 64,
    rmsNormEps: 1e-5,
    ropeScaling: null,
    qkvBias: false,
    tiedEmbeddings: false,
    bosTokenId: null,
    eosTokenIds: [],
    ...given,
  }
}

/** Ids 0..255 are bytes, then these two: the vocabulary of byte-tokenizer.ts, since random weights know no other. */
function byteVocabulary(): Pick<ModelConfig, 'bosTokenId' | 'eosTokenIds'> {
  return { bosTokenId: 256, eosTokenIds: [257] }
}
