import type { LifetimeOptions } from './arguments.js'
import type { EngineClient } from './engine.js'
import type { EngineServer } from './http/server.js'

export const EXIT_ENGINE_DIED = 3
const DEATH_POLL_MS = 50

/**
 * How an engine process ends. SIGTERM or SIGINT: no new requests, those under way get until the deadline, exit 0; a second signal cuts
 * them off at once. The parent dies (--exit-with-parent): at once. The engine dies: 503 for a grace period, then exit 3.
 */
export class Lifetime {
  readonly #server: EngineServer
  readonly #options: LifetimeOptions
  readonly #log: (line: string) => void
  #engine: EngineClient | null = null
  #ending = false

  constructor(server: EngineServer, options: LifetimeOptions, log: (line: string) => void) {
    this.#server = server
    this.#options = options
    this.#log = log
    process.on('SIGTERM', () => this.#onSignal('SIGTERM'))
    process.on('SIGINT', () => this.#onSignal('SIGINT'))
    if (options.exitWithParent) {
      process.stdin.on('end', () => this.#parentGone()).on('error', () => this.#parentGone())
      process.stdin.resume()
    }
  }

  /** From here on the engine is drained before the process ends, and its death ends the process. */
  watch(engine: EngineClient): void {
    this.#engine = engine
    const timer = setInterval(() => {
      const health = engine.health()
      if (health.state !== 'dead') return
      clearInterval(timer)
      this.#log(`the engine has died: ${health.detail}`)
      setTimeout(() => process.exit(EXIT_ENGINE_DIED), this.#options.graceMs)
    }, DEATH_POLL_MS)
    timer.unref()
  }

  #onSignal(signal: string): void {
    if (this.#ending) {
      this.#log(`${signal} again: requests under way are cut off`)
      void this.#end(0)
      return
    }
    this.#ending = true
    this.#log(`${signal}: draining for at most ${this.#options.drainDeadlineMs / 1000} s`)
    void this.#end(this.#options.drainDeadlineMs)
  }

  #parentGone(): void {
    if (this.#ending) return
    this.#ending = true
    this.#log('the parent process is gone')
    void this.#end(0)
  }

  async #end(deadlineMs: number): Promise<void> {
    const engine = this.#engine
    if (engine === null) process.exit(0)
    await this.#server.drain(deadlineMs)
    await this.#server.close()
    // What the worker still writes (its trace) must not hold the process for ever.
    await Promise.race([engine.close(), new Promise((resolve) => setTimeout(resolve, 2000))])
    process.exit(engine.health().state === 'dead' ? EXIT_ENGINE_DIED : 0)
  }
}
