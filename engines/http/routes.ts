import { ApiError } from './api-error.js'
import { chat } from './chat.js'
import { completions } from './completions.js'
import type { ServiceHandler } from './exchange.js'
import { listModels, showEngine, showModel } from './information.js'
import { detokenize, tokenize } from './tokenize.js'

export interface Route {
  method: 'GET' | 'POST'
  handler: ServiceHandler | 'health' | 'metrics'
  /** Its requests stand in the ledger of /metrics. */
  generates: boolean
}

const ROUTES: ReadonlyMap<string, Route> = new Map<string, Route>([
  ['/health', { method: 'GET', handler: 'health', generates: false }],
  ['/metrics', { method: 'GET', handler: 'metrics', generates: false }],
  ['/v1/models', { method: 'GET', handler: listModels, generates: false }],
  ['/v1/engine', { method: 'GET', handler: showEngine, generates: false }],
  ['/v1/completions', { method: 'POST', handler: completions, generates: true }],
  ['/v1/chat/completions', { method: 'POST', handler: chat, generates: true }],
  ['/tokenize', { method: 'POST', handler: tokenize, generates: false }],
  ['/detokenize', { method: 'POST', handler: detokenize, generates: false }],
])
const MODEL: Route = { method: 'GET', handler: showModel, generates: false }
const MODEL_PREFIX = '/v1/models/'

/** The path without its query and trailing slashes. */
export function pathOf(url: string): string {
  const path = url.split('?', 1)[0].replace(/\/+$/, '')
  return path === '' ? '/' : path
}

/** The route of a path and what it leaves open. Throws ApiError unknown_route or method_not_allowed. */
export function findRoute(method: string, path: string): { route: Route; rest: string } {
  const isModel = path.startsWith(MODEL_PREFIX)
  const route = isModel ? MODEL : ROUTES.get(path)
  if (route === undefined) throw new ApiError('unknown_route', 'There is no such route.')
  if (method !== route.method && !(method === 'HEAD' && route.method === 'GET')) {
    throw new ApiError('method_not_allowed', `This route takes ${route.method}.`, null, {
      headers: { allow: allowedMethods(route) },
    })
  }
  return { route, rest: isModel ? decodePath(path.slice(MODEL_PREFIX.length)) : '' }
}

export function allowedMethods(route: Route): string {
  return route.method === 'GET' ? 'GET, HEAD, OPTIONS' : 'POST, OPTIONS'
}

/** The methods of a path, for OPTIONS; null: no such path. */
export function methodsOf(path: string): string | null {
  const route = path.startsWith(MODEL_PREFIX) ? MODEL : ROUTES.get(path)
  return route === undefined ? null : allowedMethods(route)
}

function decodePath(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
