import { parentPort, workerData } from 'node:worker_threads'
import { Dealer } from './dealer.js'
import type { FromWorker, ToWorker, WorkerSetup } from './messages.js'
import { rehearse } from './rehearsal.js'
import { Sender } from './sender.js'

/** Entry of a load worker thread: rehearses, opens its connections, waits for the start, sends its share, reports. */
const port = parentPort!
const setup = workerData as WorkerSetup
const sender = new Sender(setup)
const dealer = new Dealer(setup, sender, (index, intendedNs) => post({ type: 'dropped', index, intendedNs }))
const flush = setInterval(flushRecords, 50)

port.on('message', (message: ToWorker) => {
  if (message.type === 'start') void run(message.startNs)
  else stop(message)
})
void prepare()

async function prepare(): Promise<void> {
  await rehearse(setup)
  const error = await sender.connections.open(setup.connections)
  post({ type: 'ready', opened: sender.connections.opened, connectError: error === null ? null : error.message })
}

async function run(startNs: number): Promise<void> {
  sender.health.start()
  await dealer.run(startNs)
  clearInterval(flush)
  flushRecords()
  const health = sender.health.stop(setup.worker, sender.connections.opened, sender.reader.disagreements)
  await sender.close()
  post({ type: 'done', health })
  port.close()
}

function stop(message: Extract<ToWorker, { type: 'stop' }>): void {
  for (const request of [...sender.active]) request.end(message.outcome, message.detail)
  dealer.stop()
}

function flushRecords(): void {
  const records = sender.takeRecords()
  if (records.length === 0) return
  const buffers = records.flatMap((record) => [
    record.readNs.buffer,
    record.readTokens.buffer,
    record.readFrames.buffer,
  ])
  port.postMessage({ type: 'records', records } satisfies FromWorker, buffers as ArrayBuffer[])
}

function post(message: FromWorker): void {
  port.postMessage(message)
}
