import { type NullSchedule, type NullTrace, serveNull } from './null-server.js'

/** Process entry of the null server: schedule as JSON in argv[2], talks over the IPC channel, ends when that closes. */
const schedule = JSON.parse(process.argv[2]!) as NullSchedule
let traces: NullTrace[] = []
const server = await serveNull(schedule, (trace) => traces.push(trace))
process.send!({ type: 'listening', url: server.url })
process.on('message', (message) => {
  if (message !== 'traces') return
  process.send!({ type: 'traces', traces })
  traces = []
})
process.on('disconnect', () => process.exit(0))
