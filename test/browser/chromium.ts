import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'

const CANDIDATES = [
  process.env['CHROMIUM_PATH'],
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome-stable',
  '/usr/bin/google-chrome',
]
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-default-apps',
  '--hide-scrollbars',
  '--window-size=1180,900',
  '--remote-debugging-pipe',
]
const CALL_TIMEOUT_MS = 30_000

/** Where a Chromium is, or null. */
export function chromiumPath(): string | null {
  return CANDIDATES.find((path): path is string => path !== undefined && existsSync(path)) ?? null
}

type Params = Record<string, unknown>
interface Message {
  id?: number
  method?: string
  params?: Params
  result?: Params
  error?: { message: string }
  sessionId?: string
}

/** A headless Chromium with one page, spoken to over the DevTools protocol on its pipe (file descriptors 3 and 4, NUL-separated JSON). */
export class Chromium {
  private nextId = 1
  private readonly waiting = new Map<number, { resolve: (result: Params) => void; reject: (error: Error) => void }>()
  private sessionId: string | undefined
  /** Every event of the page since it was opened. */
  readonly events: { method: string; params: Params }[] = []

  private constructor(
    private readonly child: ChildProcess,
    readonly profile: string,
  ) {
    let rest = ''
    const output = child.stdio[4] as Readable
    output.setEncoding('utf8')
    output.on('data', (chunk: string) => {
      const messages = (rest + chunk).split('\0')
      rest = messages.pop()!
      for (const message of messages) this.receive(JSON.parse(message) as Message)
    })
  }

  static async launch(path: string): Promise<Chromium> {
    const profile = mkdtempSync(join(tmpdir(), 'bench-chromium-'))
    const child = spawn(path, [...FLAGS, `--user-data-dir=${profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    })
    const browser = new Chromium(child, profile)
    const { targetId } = await browser.call('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await browser.call('Target.attachToTarget', { targetId, flatten: true })
    browser.sessionId = sessionId as string
    for (const domain of ['Page', 'Runtime', 'Network', 'Log', 'DOM']) await browser.call(`${domain}.enable`)
    await browser.call('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: profile })
    return browser
  }

  /** Opens a page and waits for its load event. */
  async open(url: string): Promise<void> {
    this.events.length = 0
    await this.call('Page.navigate', { url })
    await this.until(() => this.events.some((event) => event.method === 'Page.loadEventFired'), 'the load event')
  }

  async evaluate<T>(expression: string): Promise<T> {
    const answer = await this.call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })
    if (answer['exceptionDetails'] !== undefined) throw new Error(JSON.stringify(answer['exceptionDetails']))
    return (answer['result'] as { value: T }).value
  }

  call(method: string, params: Params = {}): Promise<Params> {
    const id = this.nextId++
    const onPage = this.sessionId !== undefined && !/^(Browser|Target)\./.test(method)
    const message = { id, method, params, ...(onPage ? { sessionId: this.sessionId } : {}) }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${method} was not answered`)), CALL_TIMEOUT_MS)
      const settle =
        <T>(then: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer)
          then(value)
        }
      this.waiting.set(id, { resolve: settle(resolve), reject: settle(reject) })
      ;(this.child.stdio[3] as Writable).write(`${JSON.stringify(message)}\0`)
    })
  }

  /** Waits for a condition, at most 20 s. */
  async until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    for (let attempt = 0; attempt < 400; attempt++) {
      if (await condition()) return
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error(`waited too long for ${what}`)
  }

  /** Asks it to end, so that its helper processes end too; kills what has not ended after 5 s. */
  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve))
    const killer = setTimeout(() => this.child.kill('SIGKILL'), 5000)
    this.call('Browser.close').catch(() => null)
    await ended
    clearTimeout(killer)
    for (const waiting of this.waiting.values()) waiting.reject(new Error('the browser has ended'))
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  }

  private receive(message: Message): void {
    if (message.method !== undefined) this.events.push({ method: message.method, params: message.params ?? {} })
    const waiting = message.id === undefined ? undefined : this.waiting.get(message.id)
    if (waiting === undefined) return
    this.waiting.delete(message.id!)
    if (message.error === undefined) waiting.resolve(message.result ?? {})
    else waiting.reject(new Error(message.error.message))
  }
}
