import { existsSync, statSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { DEFAULT_MODEL, resolveDefaultModel } from './default-model.js'
import { ModelError } from './errors.js'
import { detectFormat } from './file-format.js'
import { fetchFromHub } from './hub.js'
import { nearest } from './nearest.js'
import { isPresetName, PRESETS } from './presets.js'
import type { ResolveContext } from './resolve-context.js'
import type { ModelSource } from './source.js'

/**
 * `--model`: the default model's name, a preset, a directory, a .gguf file, or hf:org/name (hf:org/name/file.gguf).
 * Fetches what is not in the cache. Throws ModelError: model_not_found (with the nearest name), download_failed, unauthorized,
 * checksum_mismatch, pickle_refused, not_a_model.
 */
export async function resolveModel(name: string, seed: number, context: ResolveContext): Promise<ModelSource> {
  if (name === DEFAULT_MODEL) return resolveDefaultModel(seed, context)
  if (isPresetName(name)) return { kind: 'preset', id: `${name}-seed${seed}`, preset: name, seed, notice: null }
  if (name.startsWith('hf:')) {
    const repository = name.slice(3)
    return { kind: 'checkpoint', id: repository, path: await fetchFromHub(repository, context), notice: null }
  }
  if (existsSync(name)) return fromPath(resolve(name))
  throw notFound(name)
}

export const MODEL_NAMES: readonly string[] = [DEFAULT_MODEL, ...Object.keys(PRESETS)]

function fromPath(path: string): ModelSource {
  if (!statSync(path).isDirectory()) detectFormat(path)
  return { kind: 'checkpoint', id: basename(path).replace(/\.gguf$/i, ''), path, notice: null }
}

function notFound(name: string): ModelError {
  if (/^[\w.-]+\/[\w.-]+$/.test(name) && !name.startsWith('.')) {
    return new ModelError(
      'model_not_found',
      `no file or directory ${name}`,
      '--model',
      `for the repository on the hub: hf:${name}`,
    )
  }
  if (/[/\\]|\.gguf$/i.test(name)) {
    return new ModelError('model_not_found', `no file or directory ${name}`, '--model', 'check the path')
  }
  const near = nearest(name, MODEL_NAMES)
  const hint = near === null ? `known names: ${MODEL_NAMES.join(', ')}` : `did you mean ${near}?`
  return new ModelError('model_not_found', `unknown model "${name}"`, '--model', hint)
}
