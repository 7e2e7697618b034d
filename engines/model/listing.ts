import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DEFAULT_MODEL } from './default-model.js'
import { PRESETS } from './presets.js'
import { parameterCount } from './sizes.js'

export interface ListedModel {
  /** As --model takes it. */
  name: string
  kind: 'default' | 'preset' | 'cached'
  detail: string
}

/** The default model, the presets and what was fetched from the hub before. */
export function listModels(cacheDirectory: string): ListedModel[] {
  const presets = Object.entries(PRESETS).map(([name, config]): ListedModel => {
    const millions = (parameterCount(config) / 1e6).toFixed(1)
    return { name, kind: 'preset', detail: `${millions} M parameters, seeded random weights` }
  })
  return [defaultEntry(cacheDirectory), ...presets, ...cachedRepositories(cacheDirectory)]
}

function defaultEntry(cacheDirectory: string): ListedModel {
  const bytes = weightBytes(join(cacheDirectory, DEFAULT_MODEL))
  const detail =
    bytes === 0 ? 'not fetched yet' : `${Math.round(bytes / 1e6)} MB in ${join(cacheDirectory, DEFAULT_MODEL)}`
  return { name: DEFAULT_MODEL, kind: 'default', detail }
}

function cachedRepositories(cacheDirectory: string): ListedModel[] {
  const hub = join(cacheDirectory, 'hf')
  if (!existsSync(hub)) return []
  return readdirSync(hub)
    .filter((name) => name.includes('--'))
    .map((name) => ({
      name: `hf:${name.replace('--', '/')}`,
      kind: 'cached',
      detail: `${Math.round(weightBytes(join(hub, name)) / 1e6)} MB in ${join(hub, name)}`,
    }))
}

function weightBytes(directory: string): number {
  if (!existsSync(directory)) return 0
  const files = readdirSync(directory).filter((name) => /\.(gguf|safetensors)$/.test(name))
  return files.reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
}
