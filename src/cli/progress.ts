import pc from 'picocolors'

/** Progress on stderr: one live line on a terminal; without one, a line per phase and one every 10 s. */
export class Progress {
  readonly #live: boolean
  #lastLineMs = 0
  #open = false

  constructor(readonly quiet: boolean) {
    this.#live = process.stderr.isTTY === true && !process.env['CI']
  }

  /** A phase begins; always printed. */
  phase(text: string): void {
    if (this.quiet) return
    this.#close()
    process.stderr.write(`${this.#live ? pc.cyan('•') : '-'} ${text}\n`)
    this.#lastLineMs = performance.now()
  }

  /** The state of the phase: replaces the live line, or is printed when 10 s have passed. */
  update(text: string): void {
    if (this.quiet) return
    if (this.#live) {
      const width = Math.max(20, (process.stderr.columns ?? 100) - 4)
      process.stderr.write(`\r\x1b[2K  ${pc.dim(text.slice(0, width))}`)
      this.#open = true
    } else if (performance.now() - this.#lastLineMs > 10_000) {
      process.stderr.write(`  ${text}\n`)
      this.#lastLineMs = performance.now()
    }
  }

  warn(text: string): void {
    this.#close()
    process.stderr.write(`${this.#live ? pc.yellow('!') : '!'} ${text}\n`)
  }

  #close(): void {
    if (this.#open) process.stderr.write('\r\x1b[2K')
    this.#open = false
  }

  end(): void {
    this.#close()
  }
}
