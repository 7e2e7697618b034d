import type { Socket } from 'node:net'
import { buildConnector } from 'undici'
import { Wire } from './wire.js'

/**
 * Connections opened before t = 0, so that no handshake falls into a TTFT, handed to the HTTP pool one by one. Later connections (a server that
 * closed one, a load above the number opened) are made on demand and marked fresh.
 */
export class Connections {
  opened = 0
  readonly #idle: Socket[] = []
  readonly #fresh = new WeakSet<Socket>()
  readonly #wires = new WeakMap<Socket, Wire>()
  readonly #timeoutMs: number
  readonly #isPlain: boolean
  readonly #target: buildConnector.Options

  constructor(origin: URL, connectSecs: number) {
    this.#timeoutMs = connectSecs * 1000
    this.#isPlain = origin.protocol === 'http:'
    this.#target = {
      hostname: origin.hostname,
      host: origin.host,
      protocol: origin.protocol,
      port: origin.port || (origin.protocol === 'https:' ? '443' : '80'),
    } as buildConnector.Options
  }

  /** Opens `count` connections, at most 64 at a time. The first error is returned, not thrown: requests will meet it themselves. */
  async open(count: number): Promise<Error | null> {
    let failure: Error | null = null
    let left = count
    const lane = async () => {
      while (left-- > 0 && failure === null) {
        await new Promise<void>((resolve) => {
          this.#dial(this.#target, (error, socket) => {
            if (error !== null) failure = error
            else this.#keep(socket as Socket)
            resolve()
          })
        })
      }
    }
    await Promise.all(Array.from({ length: Math.min(64, count) }, lane))
    return failure
  }

  /** For undici's Pool. */
  readonly connector: buildConnector.connector = (options, callback) => {
    for (let socket = this.#idle.shift(); socket !== undefined; socket = this.#idle.shift()) {
      if (socket.destroyed || !socket.readable || !socket.writable) continue
      socket.removeAllListeners('error')
      // Not at once: undici looks for the socket only after its connect call has returned.
      queueMicrotask(() => callback(null, socket))
      return
    }
    this.#dial(options, (...result) => {
      const [error, socket] = result
      if (error === null) {
        this.opened++
        this.#fresh.add(socket as Socket)
        ;(socket as Socket).setNoDelay(true)
      }
      callback(...result)
    })
  }

  /** True once for a connection that had to be made for a request. */
  takeFresh(socket: Socket): boolean {
    return this.#fresh.delete(socket)
  }

  /** What stands between the socket and the HTTP library; none under TLS. */
  wireOf(socket: Socket): Wire | null {
    return this.#wires.get(socket) ?? null
  }

  close(): void {
    for (const socket of this.#idle) socket.destroy()
    this.#idle.length = 0
  }

  #dial(options: buildConnector.Options, callback: buildConnector.Callback): void {
    const wire = this.#isPlain ? new Wire() : null
    const connect = buildConnector({ timeout: this.#timeoutMs, ...(wire === null ? {} : { onread: wire.onread }) })
    connect(options, (...result) => {
      const [error, socket] = result
      if (error === null && wire !== null) {
        wire.attach(socket as Socket)
        this.#wires.set(socket as Socket, wire)
      }
      callback(...result)
    })
  }

  #keep(socket: Socket): void {
    this.opened++
    socket.setNoDelay(true)
    socket.on('error', () => {})
    this.#idle.push(socket)
  }
}
