import type { EngineClient } from '../engine.js'
import { ApiError } from './api-error.js'

/** Turns what the engine says, and what it fails to do, into ready or not. */
export class HealthWatch {
  draining = false
  loading = 'starting'
  #engine: EngineClient | null = null
  #progress = ''
  #progressMs = 0
  #timer: NodeJS.Timeout | null = null

  constructor(readonly stallTimeoutMs: number) {}

  /** Watches an engine: work queued and no step for stallTimeoutMs counts as not healthy. 0 turns that off. */
  watch(engine: EngineClient): void {
    this.#engine = engine
    this.#progressMs = performance.now()
    if (this.stallTimeoutMs > 0) {
      this.#timer = setInterval(() => this.#look(engine), Math.max(10, this.stallTimeoutMs / 10)).unref()
    }
  }

  /** Why no request can be served now; null when one can. */
  problem(): ApiError | null {
    const health = this.#engine?.health() ?? { state: 'loading', detail: this.loading }
    if (health.state === 'dead') return new ApiError('engine_dead', `The engine has died: ${health.detail}`)
    if (this.draining || health.state === 'draining') {
      return new ApiError('engine_draining', 'The server is shutting down.', null, { headers: { 'retry-after': '10' } })
    }
    if (health.state === 'loading') {
      return new ApiError('engine_loading', `The model is loading: ${health.detail}`, null, {
        headers: { 'retry-after': '5' },
      })
    }
    return null
  }

  /** As problem(), and also whether the engine stands still (new requests are still taken then). */
  unhealthy(): ApiError | null {
    const problem = this.problem()
    if (problem !== null || this.stallTimeoutMs === 0) return problem
    const idleMs = performance.now() - this.#progressMs
    if (idleMs < this.stallTimeoutMs) return null
    return new ApiError('engine_stalled', `Work is queued and the engine has not moved for ${Math.round(idleMs)} ms.`)
  }

  close(): void {
    if (this.#timer) clearInterval(this.#timer)
  }

  #look(engine: EngineClient): void {
    const stats = engine.stats()
    const progress = `${stats.steps} ${stats.generationTokens} ${stats.promptTokens}`
    if (progress === this.#progress && stats.running + stats.waiting > 0) return
    this.#progress = progress
    this.#progressMs = performance.now()
  }
}
