import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RESULT_SCHEMA, type RequestRecord, type RunManifest } from '../../src/result/schema.js'

export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), 'bench-test-'))
}

export function manifest(change: Partial<RunManifest> = {}): RunManifest {
  return {
    schema: RESULT_SCHEMA,
    id: 'test-run',
    startedAt: '2026-01-02T03:04:05.000Z',
    anchorNs: 1_000,
    command: ['bench', 'run'],
    status: 'running',
    scenario: {},
    scenarioLine: 'fixed 8/8',
    planHash: 'abc',
    planRequests: 100,
    environment: {
      host: 'host',
      os: 'Linux',
      cpu: 'cpu',
      cores: 2,
      memoryBytes: 1,
      cpuGovernor: null,
      node: 'v20',
      benchVersion: '0.1.0',
      gitCommit: null,
      gitDirty: null,
      ceilings: null,
    },
    targets: [],
    blocks: [],
    telemetry: null,
    calibration: null,
    notices: [],
    ...change,
  }
}

/** A completed request of `tokens` tokens, one per read. */
export function record(index: number, tokens = 8): RequestRecord {
  const sentNs = 1e9 + index * 1e6
  const readNs = Array.from({ length: tokens }, (_, i) => 50e6 + i * 10e6)
  return {
    index,
    phase: 'measure',
    requestId: `r-${index}`,
    worker: 0,
    outcome: 'ok',
    detail: null,
    httpStatus: 200,
    finishReason: 'length',
    freshSocket: false,
    inputTokens: 8,
    outputTokens: tokens,
    intendedNs: sentNs,
    dequeuedNs: sentNs,
    sentNs,
    bodySentNs: sentNs + 1e4,
    headersNs: sentNs + 1e6,
    firstByteNs: sentNs + 50e6,
    firstTokenNs: sentNs + 50e6,
    firstOutputNs: sentNs + 50e6,
    lastTokenNs: sentNs + readNs.at(-1)!,
    doneNs: sentNs + readNs.at(-1)! + 1e5,
    readNs,
    readTokens: readNs.map(() => 1),
    readFrames: readNs.map(() => 1),
    counted: tokens,
    usagePromptTokens: 8,
    usageCompletionTokens: tokens,
    cachedTokens: null,
    engineTokens: null,
    frames: tokens + 2,
    bytes: 100 * tokens,
    tokenIds: null,
    text: null,
  }
}
