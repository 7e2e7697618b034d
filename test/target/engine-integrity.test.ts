import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { engineIntegrity, type RunningTarget } from '../../src/target.js'

let server: Server | null = null
afterEach(() => server?.close())

/** A target whose /v1/engine answers with these bodies in turn, the last one for ever. */
async function target(status: number, ...bodies: unknown[]): Promise<RunningTarget> {
  let turn = 0
  server = createServer((_, response) => {
    response.writeHead(status).end(JSON.stringify(bodies[Math.min(turn++, bodies.length - 1)]))
  })
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve))
  return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1` } as RunningTarget
}

test('an engine that has checked itself tells what it found', async () => {
  expect(await engineIntegrity(await target(200, { stats: { integrity: '' } }), null)).toBe('')
  expect(await engineIntegrity(await target(200, { stats: { integrity: 'a leak' } }), null)).toBe('a leak')
})

test('one that is still busy is asked again', async () => {
  const busy = { stats: { integrity: null } }
  expect(await engineIntegrity(await target(200, busy, busy, { stats: { integrity: '' } }), null)).toBe('')
})

test('another server tells nothing', async () => {
  expect(await engineIntegrity(await target(404, {}), null)).toBeNull()
  expect(await engineIntegrity(await target(200, { object: 'list' }), null)).toBeNull()
})
