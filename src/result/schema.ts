/**
 * The result of a run, as files and types. Raw records stand apart from derived numbers, so that any number can be computed again.
 *
 *   results/<id>/
 *     manifest.json      what was run, on what, with what plan; status running | complete | partial; rewritten atomically
 *     plan.jsonl         one PlanRow a line, hashed
 *     blocks/<n>-<target>/   one block = one target driven once with the whole plan
 *       requests.jsonl   RequestRecord journal, appended while running
 *       steps.jsonl      the engine's step trace (built-in engines)
 *       telemetry.jsonl  TelemetrySample
 *       client.json      WorkerHealth of each load worker
 *       server-metrics.jsonl   ServerScrape: an external server's own /metrics, before and after
 *     summary.json       Summary: every derived number
 *     report.html, report.md
 *
 * Times are CLOCK_MONOTONIC nanoseconds as numbers (process.hrtime; exact to 2 ns), the same clock in every process of the host.
 */
import type { ServerSplit, StoredCeiling } from './server-view.js'

export const RESULT_SCHEMA = 'pagedbench/run@1'

/* ---- plan ----------------------------------------------------------------------------------------------------------- */

export type Phase = 'warmup' | 'measure'

/** One planned request. The prompt is `promptIds`, or the text of `prompt`; both come from the seeds alone. */
export interface PlanRow {
  /** 0-based, in order of due time (open loop) or of dispatch (closed loop). */
  index: number
  phase: Phase
  /** Due time from the start of its phase, ns; in closed loop only the first wave has one (when its slot opens), else null. */
  dueNs: number | null
  /** Planned prompt and output tokens. */
  inputTokens: number
  outputTokens: number
  /** Shared-prefix group, conversation and turn, when the workload has them. */
  prefixGroup: number | null
  conversation: number | null
  turn: number | null
  /** Think time before this turn, ns. */
  thinkNs: number
  promptIds: number[] | null
  prompt: string | null
  /** Request seed for sampling. */
  seed: number
}

/* ---- raw records ------------------------------------------------------------------------------------------------------ */

/** Every planned request ends in exactly one outcome. */
export const OUTCOMES = {
  ok: 'completed with a finish reason',
  'http-4xx': 'the server refused the request',
  'http-429': 'the server was over its limit',
  'http-5xx': 'the server failed',
  'http-redirect': 'the server redirected; redirects are not followed',
  'content-type': 'a 200 that is not an event stream (HTML, plain JSON, compressed)',
  'connect-failed': 'no connection could be made',
  reset: 'the connection was reset or closed before the response ended',
  truncated: 'the stream ended without a finish reason',
  'stream-error': 'an error event inside a 200 stream',
  'bad-frame': 'a frame that is not valid (JSON, UTF-8, size, count of choices or finishes)',
  'header-timeout': 'no response headers in time',
  'first-token-timeout': 'no first token in time',
  'stall-timeout': 'no further token in time',
  'request-timeout': 'the request as a whole took too long',
  'usage-mismatch': 'the server reported impossible token counts',
  dropped: 'an arrival that the client could not send (cap reached)',
  'not-sent': 'planned, but the measured phase reached its time limit first',
  cancelled: 'cancelled by the harness (Ctrl-C, end of run)',
  'target-died': 'the engine process died',
} as const
export type Outcome = keyof typeof OUTCOMES

/** Raw events of one request. A time is null when the event did not happen: never 0. */
export interface RequestRecord {
  index: number
  phase: Phase
  /** Sent as x-request-id; joins the engine's trace. */
  requestId: string
  worker: number
  outcome: Outcome
  /** One line of detail when not ok; server text is stripped of control characters and bounded. */
  detail: string | null
  httpStatus: number | null
  finishReason: string | null
  freshSocket: boolean
  inputTokens: number
  outputTokens: number
  /** Due time, or in closed loop the instant the slot fell free (plus think time). */
  intendedNs: number
  dequeuedNs: number | null
  /** Clock read just before the request is handed to the socket. */
  sentNs: number | null
  /** The body is flushed. */
  bodySentNs: number | null
  headersNs: number | null
  firstByteNs: number | null
  firstTokenNs: number | null
  /** First non-reasoning token. */
  firstOutputNs: number | null
  lastTokenNs: number | null
  doneNs: number | null
  /** The first frame with a choice, tokens or not, and the frame with the finish reason: what other tools count from and to. */
  firstChoiceNs?: number | null
  finishNs?: number | null
  /** The finish reason came in a frame of its own, without tokens. */
  bareFinish?: boolean
  /** Socket reads that delivered tokens: ns since sentNs, tokens in the read, frames in the read. */
  readNs: number[]
  readTokens: number[]
  readFrames: number[]
  /** Token counts by source, null when the source is silent. `counted`: what metrics use (the ladder's best). */
  counted: number
  usagePromptTokens: number | null
  usageCompletionTokens: number | null
  cachedTokens: number | null
  engineTokens: number | null
  frames: number
  bytes: number
  /** Only with --keep-output: ids or text, for comparing answers. */
  tokenIds: number[] | null
  text: string | null
}

/** What a load worker knows of its own health in a block. */
export interface WorkerHealth {
  worker: number
  eventLoopDelayP50Ms: number
  eventLoopDelayP99Ms: number
  eventLoopDelayMaxMs: number
  eventLoopUtilization: number
  gcPauses: number
  gcPauseTotalMs: number
  gcPauseMaxMs: number
  scheduleLagP50Ms: number
  scheduleLagP99Ms: number
  scheduleLagMaxMs: number
  socketsOpened: number
  cpuSecs: number
  wallSecs: number
  fastParserDisagreements: number
}

/** One telemetry reading. Missing is null, with the reason once in TelemetryInfo; never 0. */
export interface TelemetrySample {
  /** Clock before and after the reading. */
  tNs: number
  tEndNs: number
  /** Percent of the last period in which any kernel ran. */
  gpuUtilizationPercent: number | null
  memoryUtilizationPercent: number | null
  powerWatts: number | null
  /** Since driver load. */
  energyMillijoules: number | null
  smClockMhz: number | null
  memoryClockMhz: number | null
  temperatureCelsius: number | null
  memoryUsedBytes: number | null
  throttleReasons: number | null
  /** GPM, percent of peak. */
  gpmSmPercent: number | null
  gpmOccupancyPercent: number | null
  gpmTensorPercent: number | null
  gpmDramPercent: number | null
  /** Whole host, percent of all cores; and the target process alone (cores) and its resident bytes. */
  hostCpuPercent: number | null
  targetCpuCores: number | null
  targetRssBytes: number | null
}

export interface TelemetryInfo {
  gpu: {
    name: string
    uuid: string
    pciBusId: string
    driver: string
    nvml: string
    memoryTotalBytes: number | null
    powerLimitWatts: number | null
    maxSmClockMhz: number | null
    otherProcesses: number | null
  } | null
  /** Field name -> why it has no value here ('libnvidia-ml.so.1 not found', 'NOT_SUPPORTED', ...). */
  absent: Record<string, string>
  periodMs: number
}

/* ---- manifest ----------------------------------------------------------------------------------------------------------- */

/** What is known of a target; printed beside every number of it. */
export interface TargetInfo {
  /** Label in tables: 'static', 'static-generous', 'paged', or the name the user gave the URL. */
  name: string
  kind: 'builtin' | 'external'
  /** Origin only: no userinfo, no path secrets. */
  origin: string
  model: string
  engine: string
  backend: string | null
  device: string | null
  dtype: string | null
  weights: string | null
  weightsSha256: string | null
  maxModelLen: number | null
  kvBytes: number | null
  blockSize: number | null
  options: Record<string, string | number | boolean | null>
  /** Inputs of the physical limit. */
  decodeWeightBytes: number | null
  kvBytesPerToken: number | null
  flopsPerToken: number | null
  /** Where token counts come from: 'engine ids' | 'usage' | 'continuous usage' | 'tokenizer' | 'frames'. */
  tokenSource: string
  startupSecs: number | null
}

export interface Environment {
  host: string
  os: string
  cpu: string
  cores: number
  memoryBytes: number
  cpuGovernor: string | null
  node: string
  benchVersion: string
  gitCommit: string | null
  gitDirty: boolean | null
  /** Measured ceilings of the device the engines ran on; null when not measured. */
  ceilings: { copyGBs: number | null; readGBs: number | null; gemmTflops: number | null } | null
}

export interface BlockManifest {
  index: number
  target: string
  repeat: number
  /** Folder under blocks/. */
  folder: string
  startNs: number
  endNs: number | null
  /** Start of the measured phase. */
  measureStartNs: number | null
  status: 'running' | 'complete' | 'partial' | 'failed'
  /** Why, when partial or failed. */
  reason: string | null
  /** What the engine's own check found at the block's end: '' nothing; null or absent: not told. */
  engineIntegrity?: string | null
  /** What was found out about the target's prefix cache; null or absent: not asked (built-in engines tell it with every answer). */
  cacheCheck?: CacheCheck | null
  /** Why the harness ended the load before the plan was through, as asked (--stop-when-growing); null or absent: it did not. */
  stoppedEarly?: string | null
}

/** A target's prefix cache, around one block. */
export interface CacheCheck {
  /** Gain of the server's own /metrics counters over the block, warm-up included, prompt tokens; null: it has none. */
  counters: { lookedUp: number; found: number } | null
  /** Null: not made (counters tell it, or --no-cache-probe). */
  before: CacheProbe | null
  after: CacheProbe | null
}

/**
 * One long prompt sent fresh, again, and again under another salt, several times over; medians, milliseconds. `hit` is the share of the prompt's
 * own time that the second sending saved: (fresh - again) / (fresh - short), 1 for a cached prompt, 0 for one computed anew.
 */
export interface CacheProbe {
  promptTokens: number
  pairs: number
  shortMs: number | null
  freshMs: number | null
  againMs: number | null
  resaltedMs: number | null
  hit: number | null
  resaltedHit: number | null
  /** Does the server keep a prefix cache; did it answer the resalted prompt from it? */
  keepsCache: 'yes' | 'no' | 'unknown'
  answersResalted: 'yes' | 'no' | 'unknown'
  /** The server reports cached tokens (usage.prompt_tokens_details): the run's own records tell the rest. */
  reportsCachedTokens: boolean
  /** Why something is unknown. */
  why: string | null
}

export interface RunManifest {
  schema: typeof RESULT_SCHEMA
  id: string
  /** Wall clock, once, with the monotonic reading taken at the same instant. */
  startedAt: string
  anchorNs: number
  /** The command line, secrets redacted. */
  command: string[]
  status: 'running' | 'complete' | 'partial'
  /** The scenario as frozen, and a line that names it: preset, lengths, why it was chosen. */
  scenario: Record<string, unknown>
  scenarioLine: string
  planHash: string
  planRequests: number
  environment: Environment
  targets: TargetInfo[]
  blocks: BlockManifest[]
  telemetry: TelemetryInfo | null
  /** What the client itself adds, measured before this run against a server with a known schedule; null: not measured. */
  calibration: Calibration | null
  /** How many repeats were made of at most how many, and why no more; absent unless the scenario has repeats.until. */
  repeats?: { done: number; atMost: number; why: string }
  /** With --request-ceiling only. */
  requestCeilings?: StoredCeiling[]
  notices: string[]
  /** Results of other load generators that were set beside this run (bench import); absent: none. */
  imported?: ImportedResult[]
}

/** A published result as its file tells it, by the tool's own definitions; what the file does not hold is null. */
export interface ImportedResult {
  /** Name without its folder, which of its results (0-based), and a hash of the whole file. */
  file: string
  index: number
  sha256: string
  tool: Tool
  version: string | null
  model: string | null
  requestsOk: number | null
  requestsFailed: number | null
  concurrency: number | null
  column: ToolColumn
  /** Largest |ours / theirs - 1| over its figures, ours from the events in the file; null: it holds no events. */
  largestDifference: number | null
  /** Figures that are further from ours than the tool's rounding. */
  disagreeing: string[]
  notes: string[]
}

/** What the client itself adds: its reading minus what the null server wrote down, ms. */
export interface Calibration {
  ttftAddedMsP50: number
  ttftAddedMsP99: number
  itlAddedMsP50: number
  itlAddedMsP99: number
  /** Streams at once and client threads it was made with, when (ISO 8601), and whether an earlier run of this machine made it. Absent in records of before. */
  concurrency?: number
  workers?: number
  measuredAt?: string
  reused?: boolean
}

/* ---- derived ------------------------------------------------------------------------------------------------------------ */

/** A distribution of raw samples. A percentile under its sample floor is null and named in `floors`. Milliseconds unless the metric says otherwise. */
export interface Distribution {
  n: number
  mean: number | null
  min: number | null
  max: number | null
  p50: number | null
  p75: number | null
  p90: number | null
  p95: number | null
  p99: number | null
  p999: number | null
  /** Percentile -> samples it would need. */
  floors: Record<string, number>
  /** Requests for which the metric is undefined (counted, not zero). */
  undefinedCount: number
}

export interface BlockMetrics {
  block: number
  target: string
  /** [w0, w1], ns, and how it was found. */
  window: { startNs: number; endNs: number; how: string; secs: number }
  outcomes: Record<string, number>
  requestsOk: number
  requestsFailed: number
  /** Tokens that arrived in the window per second of it. */
  outputTokensPerSecond: number | null
  promptTokensPerSecond: number | null
  requestsPerSecond: number | null
  /** sum(N) / (last done - first intended), drain included. */
  wholeRunOutputTokensPerSecond: number | null
  wholeRunSecs: number | null
  outputTokens: number
  promptTokens: number
  cachedTokens: number | null
  ttftMs: Distribution
  ttftIntendedMs: Distribution
  tpotMs: Distribution
  itlMs: Distribution
  chunkGapMs: Distribution
  e2eMs: Distribution
  tokensPerFrame: number | null
  goodputRps: number | null
  sloAttainment: number | null
  inputLengths: Distribution
  outputLengths: Distribution
  tokenMismatchRate: number | null
  /** From the step trace: share of computed tokens that were padding or finished rows; preemptions; peak KV share; prefix hits. */
  paddedShare: number | null
  preemptions: number | null
  kvPeakShare: number | null
  prefixHitShare: number | null
  meanBatchRows: number | null
  scheduleUsP50: number | null
  scheduleUsP99: number | null
  /** Means over the window. */
  gpuUtilizationMean: number | null
  gpmDramMean: number | null
  gpmTensorMean: number | null
  powerWattsMean: number | null
  joulesPerOutputToken: number | null
  hostCpuMean: number | null
  targetRssPeakBytes: number | null
  /** Achieved tokens/s over the limit of the formula in metrics/limit.ts; null without a measured ceiling. */
  shareOfLimit: number | null
  limitTokensPerSecond: number | null
  /** Null without an engine trace; absent in records of before. */
  ttftSplit?: TtftSummary | null
  otherTools?: ToolColumn[]
  /** Null without an engine trace. */
  engineTime?: EngineTime | null
  /** Of an external server's own /metrics; null: it was not asked. */
  serverSplit?: ServerSplit | null
  /** Requests/s over the target's request ceiling; null: the ceiling was not measured. */
  shareOfRequestCeiling?: number | null
  /** GPM, mean percent of the window: SMs with a warp in flight, and warps of those the SMs could hold. */
  gpmSmMean?: number | null
  gpmOccupancyMean?: number | null
}

/** The engine's own time per step of the window, microseconds, and the garbage-collection pauses of its thread. */
export interface EngineTime {
  steps: number
  /** Nearest rank over steps; null: the trace does not tell this part, or too few steps for the percentile. */
  parts: Record<EngineTimePart, { p50Us: number | null; p99Us: number | null }>
  gc: { pauses: number; totalMs: number; longestMs: number }
}

/** schedule: planning; launch: FFI calls that enqueue the step; wait: blocked on the device; commit: tokens taken. */
export type EngineTimePart = 'schedule' | 'launch' | 'wait' | 'commit'

/** Where one request's TTFT from its due time went, ms. The parts sum to t_first_token - t_intended. */
export interface TtftSplit {
  /** t_sent - t_intended: the client was late. */
  clientLagMs: number
  /** Engine's arrival - t_sent: body on the wire, accepted, read to its last byte, tokenised by nobody yet. */
  sendMs: number
  /** Scheduled - arrival: validation and the waiting queue. */
  queueMs: number
  /** Engine's first token - scheduled. */
  prefillMs: number
  /** Client's first token - engine's first token: detokenised, written, received. */
  flushMs: number
}

/** Mean and percentiles of each part over the measured successes that the engine's trace knows; of a target, the mean over its blocks. */
export interface TtftSummary {
  /** Requests; of a target, those of its smallest block: sample floors hold for each block. */
  n: number
  mean: TtftSplit
  p50: TtftPercentiles
  p90: TtftPercentiles
  p99: TtftPercentiles
}

/** Null under the sample floor. Percentiles of the parts do not add up to that of the whole (totalMs: due time to first token). */
export type TtftPercentiles = Record<keyof TtftSplit | 'totalMs', number | null>

/** ms, as another tool prints them, by its own rule of interpolation; null: it did not print this one. p90: absent in older results. */
export interface ToolStats {
  mean: number
  p50: number
  p90?: number | null
  p99: number | null
}

export type Tool = 'vllm bench serve' | 'guidellm' | 'aiperf'

/** One tool's view of the same events; null: the tool has no such metric. `how`: what its names mean. */
export interface ToolColumn {
  tool: Tool
  ttftMs: ToolStats | null
  tpotMs: ToolStats | null
  itlMs: ToolStats | null
  e2eMs: ToolStats | null
  outputTokensPerSecond: number | null
  requestsPerSecond: number | null
  /** Prompt and output tokens; absent in older results. */
  totalTokensPerSecond?: number | null
  how: { ttft: string; tpot: string; itl: string; throughput: string }
}

export const VALIDITY = {
  valid: 'VALID',
  invalid: 'INVALID',
  noSteadyState: 'NO-STEADY-STATE',
  unverified: 'UNVERIFIED',
} as const
export type Validity = (typeof VALIDITY)[keyof typeof VALIDITY]

export interface ValidityReason {
  /** 'samples', 'errors', 'client', 'cache', ... of statistics/verdict. */
  code: string
  severity: 'invalid' | 'unverified' | 'no-steady-state' | 'note'
  evidence: string
  fix: string
}

export interface Verdict {
  validity: Validity
  reasons: ValidityReason[]
}

/** head against base, from blocks as the unit (paired by repeat when both have them). */
export interface Comparison {
  base: string
  head: string
  metric: string
  unit: string
  lowerIsBetter: boolean
  baseValue: number | null
  headValue: number | null
  /** head / base with its interval; null interval when fewer than 2 blocks a side. */
  ratio: number | null
  ratioLow: number | null
  ratioHigh: number | null
  confidence: number
  n: number
  verdict: 'improved' | 'regressed' | 'equivalent' | 'inconclusive' | 'missing' | 'incomparable' | 'single-run'
  p: number | null
  marginPercent: number | null
  note: string | null
}

/** Greedy answers of two targets on the same plan. */
export interface AnswerComparison {
  base: string
  head: string
  compared: number
  equal: number
  /** Median and smallest index of the first differing token among the differing. */
  firstDivergence: { min: number; median: number } | null
}

export interface Summary {
  schema: 'pagedbench/summary@1'
  runId: string
  blocks: BlockMetrics[]
  /** Per target: the mean over its measured blocks of the main numbers. */
  targets: {
    target: string
    blocks: number
    outputTokensPerSecond: number | null
    outputTokensPerSecondLow: number | null
    outputTokensPerSecondHigh: number | null
    ttftP50Ms: number | null
    ttftP99Ms: number | null
    itlP50Ms: number | null
    itlP99Ms: number | null
    tpotP50Ms: number | null
    e2eP50Ms: number | null
    shareOfLimit: number | null
    /** Absent in records of before. */
    ttftSplit?: TtftSummary | null
    verdict: Verdict
  }[]
  comparisons: Comparison[]
  answers: AnswerComparison[]
  verdict: Verdict
  /** What the client itself adds, from calibration; null when none was made. */
  calibration: Calibration | null
  notices: string[]
}
