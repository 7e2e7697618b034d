import type {
  AdmissionError,
  EngineClient,
  EngineHealth,
  EngineInfo,
  EngineStats,
  FinishReason,
  GenerationRequest,
  OutputListener,
  TokenLogprobs,
} from '../../engines/engine.js'
import { EOS } from './byte-codec.js'

interface Running {
  request: GenerationRequest
  listener: OutputListener
  produced: number
  script: Uint8Array | null
}

export interface ScriptOptions {
  maxModelLen?: number
  /** Tokens the KV pool holds. */
  kvTokens?: number
  /** Pause between steps; 0: none. */
  stepMs?: number
}

const SAY = Buffer.from('SAY:')

/**
 * An engine without a model, on the contract of EngineClient. A prompt that holds 'SAY:text' is answered with text and EOS; any other
 * with letters that depend on the prompt, the position and (unless greedy) the seed. Tests break it with kill() and failNext().
 */
export class ScriptedEngine implements EngineClient {
  readonly info: EngineInfo
  readonly aborted: string[] = []
  readonly seen: GenerationRequest[] = []
  paused = false
  readonly #running = new Map<string, Running>()
  readonly #finished: Record<FinishReason, number> = { stop: 0, length: 0, abort: 0, error: 0 }
  readonly #kvTokens: number
  readonly #stepMs: number
  #health: EngineHealth = { state: 'ready' }
  #steps = 0
  #tokens = 0
  #promptTokens = 0
  #accepted = 0
  #scheduled = false
  #failNext = false
  #idle: (() => void)[] = []

  constructor(options: ScriptOptions = {}) {
    this.#kvTokens = options.kvTokens ?? Number.POSITIVE_INFINITY
    this.#stepMs = options.stepMs ?? 0
    this.info = engineInfo(options.maxModelLen ?? 512)
  }

  health(): EngineHealth {
    return this.#health
  }

  stats(): EngineStats {
    return {
      running: this.#running.size,
      waiting: 0,
      kvBlocksUsed: this.#running.size,
      kvBlocksTotal: 1000,
      promptTokens: this.#promptTokens,
      generationTokens: this.#tokens,
      cachedPromptTokens: 0,
      preemptions: 0,
      requestsFinished: { ...this.#finished },
      requestsAccepted: this.#accepted,
      steps: this.#steps,
      paddedTokens: 0,
      scheduleNsP50: 0,
      scheduleNsP99: 0,
      integrity: '',
    }
  }

  submit(request: GenerationRequest, listener: OutputListener): AdmissionError | null {
    const tokens = request.promptTokenIds.length + request.maxTokens
    if (tokens > this.#kvTokens) {
      return { code: 'kv_capacity_exceeded', message: `The KV cache holds ${this.#kvTokens} tokens.`, param: 'prompt' }
    }
    this.seen.push(request)
    this.#accepted++
    this.#promptTokens += request.promptTokenIds.length
    const prompt = Buffer.from(request.promptTokenIds.map((id) => (id < 256 ? id : 0)))
    const at = prompt.lastIndexOf(SAY)
    let script: Uint8Array | null = null
    if (at >= 0) {
      const end = prompt.indexOf(0x0a, at)
      script = prompt.subarray(at + SAY.length, end < 0 ? undefined : end)
    }
    this.#running.set(request.id, { request, listener, produced: 0, script })
    this.#wake()
    return null
  }

  abort(id: string): void {
    const running = this.#running.get(id)
    if (running === undefined) return
    this.aborted.push(id)
    this.#end(running, 'abort', null)
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#health = { state: 'draining' }
    if (this.#running.size === 0) return
    await new Promise<void>((resolve) => {
      this.#idle.push(resolve)
      setTimeout(() => {
        for (const id of [...this.#running.keys()]) this.abort(id)
      }, deadlineMs).unref()
    })
  }

  async close(): Promise<void> {}

  /** The worker is gone: every sequence ends in an error at once. */
  kill(detail: string): void {
    this.#health = { state: 'dead', detail }
    for (const running of [...this.#running.values()]) this.#end(running, 'error', detail)
  }

  /** One sequence fails at the next step; its neighbours go on. */
  failNext(): void {
    this.#failNext = true
  }

  resume(): void {
    this.paused = false
    this.#wake()
  }

  #wake(): void {
    if (this.#scheduled || this.paused) return
    this.#scheduled = true
    if (this.#stepMs > 0) setTimeout(() => this.#step(), this.#stepMs)
    else setImmediate(() => this.#step())
  }

  #step(): void {
    this.#scheduled = false
    if (this.paused) return
    this.#steps++
    for (const running of [...this.#running.values()]) {
      if (this.#failNext) {
        this.#failNext = false
        this.#end(running, 'error', 'scripted failure')
      } else this.#produce(running)
    }
    if (this.#running.size > 0) this.#wake()
  }

  #produce(running: Running): void {
    const { request } = running
    const id = nextToken(running)
    running.produced++
    this.#tokens++
    const stopped = request.stopTokenIds.includes(id) && running.produced >= request.sampling.minTokens
    const finishReason = stopped ? 'stop' : running.produced >= request.maxTokens ? 'length' : null
    if (finishReason !== null) this.#forget(running, finishReason)
    running.listener({
      tokenIds: [id],
      logprobs: request.topLogprobs < 0 ? null : [logprobs(id, request.topLogprobs)],
      finishReason,
      stopTokenId: stopped ? id : null,
      cachedTokens: 0,
      error: null,
    })
  }

  #end(running: Running, finishReason: 'abort' | 'error', error: string | null): void {
    this.#forget(running, finishReason)
    running.listener({ tokenIds: [], logprobs: null, finishReason, stopTokenId: null, cachedTokens: 0, error })
  }

  #forget(running: Running, reason: FinishReason): void {
    this.#running.delete(running.request.id)
    this.#finished[reason]++
    if (this.#running.size === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }
}

function nextToken({ request, produced, script }: Running): number {
  const { sampling } = request
  if (script !== null && produced < script.length) return script[produced]
  if (script !== null && produced === script.length) return EOS
  let state = produced + 1
  for (const id of request.promptTokenIds.slice(-16)) state = (Math.imul(state, 31) + id) >>> 0
  if (sampling.temperature > 0) state = (Math.imul(state ^ sampling.seedLow, 0x9e3779b1) + sampling.seedHigh) >>> 0
  const letter = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) >>> 8) % 27
  return letter === 26 ? 0x20 : 0x61 + letter
}

function logprobs(id: number, top: number): TokenLogprobs {
  const topTokenIds = Array.from({ length: top }, (_, k) => (k === 0 ? id : 0x41 + k))
  return { logprob: -0.25, topTokenIds, topLogprobs: topTokenIds.map((_, k) => -0.25 - k) }
}

function engineInfo(maxModelLen: number): EngineInfo {
  return {
    kind: 'paged',
    variant: null,
    modelId: 'scripted',
    maxModelLen,
    vocabSize: 300,
    eosTokenIds: [EOS],
    weights: 'none',
    dtype: 'f32',
    backend: 'cpu',
    deviceName: 'none',
    deviceUuid: null,
    blockSize: 16,
    kvBlocksTotal: 1000,
    kvBytes: 0,
    weightBytes: 0,
    weightsSha256: '',
    options: {},
    decodeWeightBytes: 0,
    kvBytesPerToken: 0,
    flopsPerToken: 0,
  }
}
