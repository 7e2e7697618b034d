import type { BlockManifest, RequestRecord, TargetInfo } from '../../src/result/schema.js'

/** A successful request sent at `sentMs` whose reads come at `readMs` after it. */
export function record(
  fields: Partial<RequestRecord> & { sentMs?: number; readMs?: number[]; perRead?: number[] } = {},
): RequestRecord {
  const { sentMs = 0, readMs = [100, 110, 120], perRead, ...rest } = fields
  const sentNs = 1e12 + sentMs * 1e6
  const readTokens = perRead ?? readMs.map(() => 1)
  const first = readMs[0] === undefined ? null : sentNs + readMs[0] * 1e6
  const last = readMs.length === 0 ? null : sentNs + readMs.at(-1)! * 1e6
  const counted = readTokens.reduce((a, b) => a + b, 0)
  return {
    index: 0,
    phase: 'measure',
    requestId: 'r',
    worker: 0,
    outcome: 'ok',
    detail: null,
    httpStatus: 200,
    finishReason: 'length',
    freshSocket: false,
    inputTokens: 32,
    outputTokens: counted,
    intendedNs: sentNs,
    dequeuedNs: sentNs,
    sentNs,
    bodySentNs: sentNs,
    headersNs: first,
    firstByteNs: first,
    firstTokenNs: first,
    firstOutputNs: first,
    lastTokenNs: last,
    doneNs: last === null ? sentNs : last + 1e6,
    readNs: readMs.map((at) => at * 1e6),
    readTokens,
    readFrames: readTokens.map(() => 1),
    counted,
    usagePromptTokens: 32,
    usageCompletionTokens: counted,
    cachedTokens: 0,
    engineTokens: counted,
    frames: readMs.length,
    bytes: 1000,
    tokenIds: null,
    text: null,
    ...rest,
  }
}

export const target: TargetInfo = {
  name: 'paged',
  kind: 'builtin',
  origin: 'http://127.0.0.1:1',
  model: 'm',
  engine: 'paged',
  backend: 'cpu',
  device: 'cpu',
  dtype: 'bf16',
  weights: 'real',
  weightsSha256: 'x',
  maxModelLen: 2048,
  kvBytes: 1,
  blockSize: 16,
  options: {},
  decodeWeightBytes: 15.01e9,
  kvBytesPerToken: 131_072,
  flopsPerToken: 15e9,
  tokenSource: 'engine ids',
  startupSecs: 1,
}

export const block: BlockManifest = {
  index: 0,
  target: 'paged',
  repeat: 0,
  folder: '0-paged',
  startNs: 1e12,
  endNs: 2e12,
  measureStartNs: 1e12,
  status: 'complete',
  reason: null,
}
