import type { Progress } from './progress.js'

/** Ctrl-C: the first lets running requests go and keeps what was measured, the second ends the process at once. */
export class Interrupt {
  readonly #controller = new AbortController()
  readonly #onSignal: () => void

  constructor(progress: Progress) {
    this.#onSignal = () => {
      if (this.#controller.signal.aborted) process.exit(130)
      progress.warn('stopping: keeping what was measured (Ctrl-C again to stop at once)')
      this.#controller.abort()
    }
    process.on('SIGINT', this.#onSignal)
    process.on('SIGTERM', this.#onSignal)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  close(): void {
    process.off('SIGINT', this.#onSignal)
    process.off('SIGTERM', this.#onSignal)
  }
}
