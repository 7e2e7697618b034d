import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What goes wrong on the way to a file. */
export interface HubFaults {
  /** Cuts the first so many answers to a file after half of what they owe. */
  cuts?: number
  /** Answers every file request with this status. */
  fileStatus?: number
  /** Answers every listing with this status. */
  listStatus?: number
  /** Serves other bytes than those listed. */
  corrupt?: boolean
  /** Ignores Range, as some mirrors do. */
  withoutRanges?: boolean
  /** Never answers a listing. */
  silent?: boolean
  /** Asks for this bearer token. */
  token?: string
}

/** A hub of one repository org/model, on loopback: listing, resolve with ranges, hashes as the hub publishes them. */
export class HubServer {
  /** Range headers of the transfers (not of the one-byte probes), '' without. */
  readonly transfers: string[] = []
  requests = 0
  faults: HubFaults = {}
  #cuts = 0

  private constructor(
    readonly server: Server,
    readonly files: Record<string, Buffer>,
  ) {}

  static async start(files: Record<string, Buffer>): Promise<HubServer> {
    const server = createServer()
    const hub = new HubServer(server, files)
    server.on('request', (request, response) => hub.#answer(request, response))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return hub
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  close(): Promise<void> {
    this.server.closeAllConnections()
    return new Promise((resolve) => this.server.close(() => resolve()))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.requests++
    const path = (request.url ?? '').split('?')[0]!
    const { token } = this.faults
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`) end(response, 401)
    else if (path === '/api/models/org/model/tree/main') this.#list(response)
    else this.#file(path.replace('/org/model/resolve/main/', ''), request.headers.range ?? '', response)
  }

  #file(name: string, range: string, response: ServerResponse): void {
    const bytes = this.files[name]
    if (bytes === undefined) end(response, 404)
    else if (this.faults.fileStatus !== undefined) end(response, this.faults.fileStatus)
    else this.#send(bytes, range, response)
  }

  #list(response: ServerResponse): void {
    if (this.faults.silent) return
    if (this.faults.listStatus !== undefined) {
      end(response, this.faults.listStatus)
      return
    }
    const entries = Object.entries(this.files).map(([path, bytes]) => ({
      type: 'file',
      path,
      size: bytes.length,
      oid: createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex'),
      ...(path.endsWith('.json')
        ? {}
        : { lfs: { oid: createHash('sha256').update(bytes).digest('hex'), size: bytes.length, pointerSize: 130 } }),
    }))
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(entries))
  }

  #send(listed: Buffer, range: string, response: ServerResponse): void {
    const bytes = this.faults.corrupt ? Buffer.from(listed).fill(0x78, 0, 1) : listed
    const asked = /^bytes=(\d+)-(\d*)$/.exec(range)
    const isProbe = range === 'bytes=0-0'
    if (!isProbe) this.transfers.push(range)
    const usesRange = asked !== null && (isProbe || !this.faults.withoutRanges)
    const from = usesRange ? Number(asked[1]) : 0
    const to = usesRange && asked[2] !== '' ? Number(asked[2]) : bytes.length - 1
    const part = bytes.subarray(from, to + 1)
    response.statusCode = usesRange ? 206 : 200
    response.setHeader('etag', `"${createHash('sha256').update(bytes).digest('hex')}"`)
    if (usesRange) response.setHeader('content-range', `bytes ${from}-${to}/${bytes.length}`)
    response.setHeader('content-length', part.length)
    if (isProbe || this.#cuts >= (this.faults.cuts ?? 0)) {
      response.end(part)
      return
    }
    this.#cuts++
    response.write(part.subarray(0, Math.floor(part.length / 2)), () => response.destroy())
  }
}

function end(response: ServerResponse, status: number): void {
  response.statusCode = status
  response.end()
}
