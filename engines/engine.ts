/**
 * The contracts between the rooms of engines/. Three parties:
 *   http/ (main thread) --EngineClient--> loop.ts (worker thread) --Engine--> static/ or paged/ --StepPlan--> executor.ts --> model/llama.ts
 * http/ sees token ids and finish reasons, never blocks or tensors; an Engine sees lengths and blocks, never text or pointers.
 */

export type EngineKind = 'static' | 'paged'

/** Sampling state of one request; the meanings are vLLM's. */
export interface SamplingParams {
  temperature: number
  topP: number
  /** 0: off. */
  topK: number
  minP: number
  repetitionPenalty: number
  presencePenalty: number
  frequencyPenalty: number
  /** Any 64-bit seed, as two unsigned halves. */
  seedLow: number
  seedHigh: number
  minTokens: number
}

/** The argmax, nothing penalised. */
export const GREEDY: Readonly<SamplingParams> = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seedLow: 0,
  seedHigh: 0,
  minTokens: 0,
}

/** A validated request, as http/ hands it over. Stop strings are http/'s business: it aborts when one matches. */
export interface GenerationRequest {
  /** Unique in this process: 'cmpl-..-0'. */
  id: string
  /** The client's x-request-id, for the trace; equals id when absent. */
  clientId: string
  promptTokenIds: readonly number[]
  maxTokens: number
  ignoreEos: boolean
  /** Ids that end the sequence (EOS ids unless ignoreEos, plus stop_token_ids). */
  stopTokenIds: readonly number[]
  sampling: SamplingParams
  /** -1: none; 0..20: the sampled token's log-probability and that many alternatives. */
  topLogprobs: number
  /** Lower runs first under --scheduling-policy priority. */
  priority: number
  /** CLOCK_MONOTONIC ns when the request's last byte was read from the socket. */
  arrivalNs: number
}

export type FinishReason = 'stop' | 'length' | 'abort' | 'error'

export interface TokenLogprobs {
  /** Of the sampled token. */
  logprob: number
  topTokenIds: number[]
  topLogprobs: number[]
}

/** What the engine tells of one sequence after a step: mostly one token. */
export interface TokenOutput {
  tokenIds: number[]
  /** One entry per token when asked for. */
  logprobs: TokenLogprobs[] | null
  /** Set on the last output of a sequence, and only there. A stop token that ended it is in tokenIds (http/ leaves it out of the text). */
  finishReason: FinishReason | null
  /** The token that ended it, when finishReason is 'stop'. */
  stopTokenId: number | null
  /** Prompt tokens found in the prefix cache; known from the first output on. */
  cachedTokens: number
  /** With finishReason 'error': one line for the client. */
  error: string | null
  /** CLOCK_MONOTONIC ns when the sequence was first put into a step; absent or 0: not told. For /metrics (queue and prefill time). */
  scheduledNs?: number
}

export type OutputListener = (output: TokenOutput) => void

/** Why a request cannot be admitted, ever: http/ turns it into a 400. */
export interface AdmissionError {
  code: 'context_length_exceeded' | 'kv_capacity_exceeded'
  message: string
  param: string | null
}

export interface EngineInfo {
  kind: EngineKind
  /** 'literal' | 'generous' for static, else null. */
  variant: string | null
  modelId: string
  maxModelLen: number
  vocabSize: number
  eosTokenIds: number[]
  /** 'real' or 'random (seed N)'. */
  weights: string
  dtype: string
  backend: 'cpu' | 'cuda'
  deviceName: string
  /** As NVML names the card: telemetry must read this one; null on the CPU. */
  deviceUuid: string | null
  blockSize: number
  /** Sequences' worth of KV memory: blocks (paged) or slots (static). */
  kvBlocksTotal: number
  kvBytes: number
  weightBytes: number
  /** SHA-256 of the weight file(s) or of the seed and dimensions. */
  weightsSha256: string
  /** Every engine option in force, as given to /metrics labels and the report. */
  options: Record<string, string | number | boolean | null>
  /** Bytes of weights read per decode step and KV bytes per token: the inputs of the physical limit. */
  decodeWeightBytes: number
  kvBytesPerToken: number
  flopsPerToken: number
}

/** Counters and gauges since start, for /metrics and the integrity check. Token counts are tokens, times ns. */
export interface EngineStats {
  running: number
  waiting: number
  kvBlocksUsed: number
  kvBlocksTotal: number
  promptTokens: number
  generationTokens: number
  cachedPromptTokens: number
  preemptions: number
  requestsFinished: Record<FinishReason, number>
  requestsAccepted: number
  steps: number
  /** Rows and tokens computed for padding or for sequences already finished (static literal). */
  paddedTokens: number
  scheduleNsP50: number
  scheduleNsP99: number
  /** From checkIntegrity() at the last idle moment: null = never idle yet, '' = sound, else what is wrong. */
  integrity: string | null
}

export type EngineHealth =
  | { state: 'loading'; detail: string }
  | { state: 'ready' }
  | { state: 'draining' }
  | { state: 'dead'; detail: string }

/** The main thread's view of the engine worker. */
export interface EngineClient {
  readonly info: EngineInfo
  health(): EngineHealth
  stats(): EngineStats
  /** Throws nothing: an impossible request comes back as AdmissionError; otherwise outputs follow on `listener`, the last with a finishReason. */
  submit(request: GenerationRequest, listener: OutputListener): AdmissionError | null
  /** Frees the sequence's blocks within one step; its listener gets one output with finishReason 'abort'. Unknown ids are ignored. */
  abort(id: string): void
  /** Stops admitting, lets running sequences end until deadlineMs, then aborts the rest; resolves when idle. */
  drain(deadlineMs: number): Promise<void>
  close(): Promise<void>
}

/* ---- inside the worker ------------------------------------------------------------------------------------------------ */

/**
 * One planned step: rows in order, decode rows (one token, already in the history) first. Preallocated and reused; `rows` is the count.
 * A row: slot, first position, token count, whether it samples, and for prompt chunks where its ids come from.
 */
export interface StepPlan {
  rows: number
  decodeRows: number
  tokens: number
  samples: number
  /** Of the rows, those computed for nothing: padding and finished sequences (static literal). In tokens. */
  paddedTokens: number
  prefillTokens: number
  decodeTokens: number
  /** Sequences preempted while this step was planned. */
  preemptions: number
  /** Prompt tokens that this step's newly admitted sequences found in the prefix cache. */
  cachedTokens: number
  /** Per row. `sequence` null: a padding row on the dummy slot. */
  sequence: (Sequence | null)[]
  slot: Int32Array
  start: Int32Array
  count: Int32Array
  /** 1: the row's last token gets logits and a sampled token. */
  sample: Uint8Array
  /** 1: the ids of this row's tokens must be uploaded from sequence.tokens[start .. start + count). */
  upload: Uint8Array
  /** Pairs (flat index into the slot table, value) to apply before the step. */
  changes: number
  changePairs: Int32Array
}

export const SEQUENCE_STATUS = { waiting: 0, running: 1, finished: 2 } as const

/** One sequence's state on the worker. Owned by the engine that holds it; token arrays are pooled. */
export interface Sequence {
  request: GenerationRequest
  /** Prompt, then output. */
  tokens: Int32Array
  length: number
  promptLength: number
  /** Tokens whose keys and values are in the cache (or in flight to it). */
  computed: number
  /** Sampled tokens launched but not yet read back. */
  inFlight: number
  slot: number
  status: number
  cachedTokens: number
  preemptions: number
  aborted: boolean
  /** Temperature 0, no penalty and no ban: an argmax samples it. */
  greedy: boolean
  finishReason: FinishReason | null
  /** Tokens computed for it after its end, and its padding. */
  wastedTokens: number
  scheduledNs: number
  firstTokenNs: number
  finishedNs: number
}

/** What an engine tells the step trace; both calls are made from commit() or abort(). */
export interface EngineObserver {
  /** The sequence has left its batch and nothing of it is in flight. The object is reused after the call. */
  released(sequence: Sequence, nowNs: number): void
  /** static only: a batch has ended. */
  batchEnded(batch: {
    startNs: number
    endNs: number
    rows: number
    longestPrompt: number
    longestOutput: number
  }): void
}

/** What static/ and paged/ implement; loop.ts drives it: schedule -> prepare -> launch -> read previous -> commit. */
export interface Engine {
  readonly kind: EngineKind
  /** Queues a request, or says why it can never run. */
  add(request: GenerationRequest): AdmissionError | null
  /** Ends a sequence and frees its memory at once (a token in flight is dropped when it arrives); false: no such sequence. */
  abort(id: string, nowNs: number): boolean
  /** Fills the plan for the next step; false: nothing to run now. `nowNs` is CLOCK_MONOTONIC. */
  schedule(plan: StepPlan, nowNs: number): boolean
  /** Takes the sampled tokens of an earlier plan, in its sampling-row order, and reports each sequence's output through `emit` (sample: index in that order). */
  commit(
    plan: StepPlan,
    tokens: Int32Array,
    nowNs: number,
    emit: (sequence: Sequence, token: number, finishReason: FinishReason | null, sample: number) => void,
  ): void
  hasWork(): boolean
  /** ns from now until schedule() may have work although it had none (a static batch still gathering); Infinity: only new requests help. */
  nextWorkInNs(nowNs: number): number
  running(): number
  waiting(): number
  kvBlocksUsed(): number
  preemptions(): number
  /** Throws Error naming the broken invariant: every block home when idle, counts equal tables. */
  checkIntegrity(): void
}

export type { StepTraceRecord } from './trace-record.js'
