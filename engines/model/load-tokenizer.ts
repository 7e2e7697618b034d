import { createByteTokenizer } from './byte-tokenizer.js'
import type { Checkpoint } from './checkpoint.js'
import type { ModelConfig } from './config.js'
import { ggufTokenizerJson } from './gguf-tokenizer.js'
import { createJsonTokenizer, readTokenizerFiles } from './json-tokenizer.js'
import type { Tokenizer } from './tokenizer.js'

/**
 * The tokenizer of a checkpoint (tokenizer.json of a directory, metadata of a GGUF file), or bytes when it has none, as the presets.
 * Throws ModelError tokenizer_malformed.
 */
export function loadTokenizer(config: ModelConfig, checkpoint: Checkpoint | null): Tokenizer {
  const { vocabSize, bosTokenId, eosTokenIds } = config
  if (checkpoint === null) return createByteTokenizer(config)
  const files = checkpoint.gguf
    ? ggufTokenizerJson(checkpoint.gguf, checkpoint.path)
    : readTokenizerFiles(checkpoint.path)
  return files === null
    ? createByteTokenizer(config)
    : createJsonTokenizer(files, { vocabSize, bosTokenId, eosTokenIds })
}
