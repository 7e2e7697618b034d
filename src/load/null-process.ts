import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { NullSchedule, NullTrace } from './null-server.js'

/** A null server running in a process of its own. */
export interface NullServer {
  /** With /v1. */
  url: string
  pid: number
  /** Traces of the requests written since the last call. */
  takeTraces(): Promise<NullTrace[]>
  close(): void
}

export async function startNullServer(schedule: NullSchedule): Promise<NullServer> {
  const child = fork(entry(), [JSON.stringify(schedule)], {
    execArgv: [],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    serialization: 'advanced',
  })
  const listening = await reply<{ url: string }>(child, 'listening')
  return {
    url: listening.url,
    pid: child.pid!,
    takeTraces: async () => {
      const answer = reply<{ traces: NullTrace[] }>(child, 'traces')
      child.send('traces')
      return (await answer).traces
    },
    close: () => {
      child.disconnect()
    },
  }
}

function reply<T>(child: ChildProcess, type: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null) => reject(new Error(`the null server ended with code ${code}`))
    const onMessage = (message: unknown) => {
      if ((message as { type: string }).type !== type) return
      child.off('message', onMessage).off('exit', onExit)
      resolve(message as T)
    }
    child.on('message', onMessage).once('exit', onExit)
  })
}

/** Beside this file when compiled; in dist/ when this file runs as TypeScript (tests). */
function entry(): string {
  const here = import.meta.url
  if (!here.endsWith('.ts')) return fileURLToPath(new URL('./null-main.js', here))
  return fileURLToPath(new URL('../../dist/src/load/null-main.js', here))
}
