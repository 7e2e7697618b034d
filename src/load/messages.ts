import type { RequestRecord, WorkerHealth } from '../result/schema.js'
import type { Timeouts } from '../scenario/types.js'

/** What a load worker is told before it starts. Bodies and counters lie in shared memory; rows are numbers only. */
export interface WorkerSetup {
  worker: number
  workers: number
  origin: string
  path: string
  headers: string[]
  requestIdPrefix: string
  bodies: SharedArrayBuffer
  /** Per row: body offset and end. */
  bodyOffsets: Float64Array
  rows: WorkerRow[]
  /** Row index at which each session starts, then one past the last row. */
  sessions: Int32Array
  arrival: { kind: 'closed'; slots: number } | { kind: 'open'; cap: number }
  /** Opened beforehand, and at most open at a time. */
  connections: number
  maxConnections: number
  timeouts: Timeouts
  maxMeasureNs: number | null
  keepOutput: boolean
  /** Requests whose frames are read both ways. */
  verifyRequests: number
  counters: SharedArrayBuffer
  clock: SharedArrayBuffer
}

export interface WorkerRow {
  measure: boolean
  /** From the run's start, ns; null: when the slot or the turn before it falls free. */
  dueNs: number | null
  thinkNs: number
  inputTokens: number
  outputTokens: number
  exactOutput: boolean
}

/** A record as it crosses threads: its token log in typed arrays. */
export type WireRecord = Omit<RequestRecord, 'readNs' | 'readTokens' | 'readFrames'> & {
  readNs: Float64Array
  readTokens: Uint32Array
  readFrames: Uint32Array
}

export type ToWorker =
  | { type: 'start'; startNs: number }
  | { type: 'stop'; outcome: 'cancelled' | 'target-died'; detail: string }

export type FromWorker =
  | { type: 'ready'; opened: number; connectError: string | null }
  | { type: 'records'; records: WireRecord[] }
  /** Arrivals refused by the cap: row and due time. */
  | { type: 'dropped'; index: number; intendedNs: number }
  | { type: 'done'; health: WorkerHealth }

/** Int32 counters shared by all workers. `nextSession` deals sessions in closed loop, from the first that no slot opens with. */
export const COUNTER = {
  nextSession: 0,
  sent: 1,
  inFlight: 2,
  done: 3,
  failed: 4,
  tokens: 5,
  dropped: 6,
  size: 8,
} as const
/** BigInt64 clock cells: when the first measured request was due, 0 before. */
export const CLOCK = { measureStart: 0, size: 1 } as const
