import type { EngineStats, TokenOutput } from '../engine.js'
import type { Choice } from './choice.js'
import { Histogram } from './histogram.js'

/** How a generation request that reached its route ended. accepted == the sum of these, plus those under way. */
export type RequestOutcome = 'completed' | 'aborted' | 'rejected' | 'errored'

const PREFIX = 'pagedbench:'
const LATENCY_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]
const TOKEN_BOUNDS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]

/** What the server itself counts; the engine's own counters are added when /metrics is read. Names after vLLM's. */
export class ServerMetrics {
  readonly #ttft = histogram('time_to_first_token_seconds', 'Request read to first token.', LATENCY_BOUNDS)
  readonly #itl = histogram('inter_token_latency_seconds', 'Between two tokens of one sequence.', LATENCY_BOUNDS)
  readonly #endToEnd = histogram('e2e_request_latency_seconds', 'Request read to last token.', LATENCY_BOUNDS)
  readonly #queue = histogram('request_queue_time_seconds', 'Request read to first scheduled.', LATENCY_BOUNDS)
  readonly #prefill = histogram('request_prefill_time_seconds', 'First scheduled to first token.', LATENCY_BOUNDS)
  readonly #decode = histogram('request_decode_time_seconds', 'First token to last token.', LATENCY_BOUNDS)
  readonly #promptTokens = histogram('request_prompt_tokens', 'Prompt tokens per sequence.', TOKEN_BOUNDS)
  readonly #generationTokens = histogram('request_generation_tokens', 'Tokens generated per sequence.', TOKEN_BOUNDS)
  readonly #outcomes = new Map<string, number>()
  readonly #finished = new Map<string, number>()
  readonly #ignored = new Map<string, number>()
  #accepted = 0

  /** One engine output of a sequence: latencies of its tokens. `scheduledNs` comes with the first, where the engine tells it. */
  observeOutput(choice: Choice, output: TokenOutput, arrivalNs: number, nowNs: number): void {
    const tokens = output.tokenIds.length
    if (tokens === 0) return
    if (choice.firstTokenNs === 0) {
      choice.firstTokenNs = nowNs
      this.#ttft.observe((nowNs - arrivalNs) / 1e9)
      const scheduledNs = output.scheduledNs ?? 0
      if (scheduledNs > 0) {
        this.#queue.observe(Math.max(0, scheduledNs - arrivalNs) / 1e9)
        this.#prefill.observe(Math.max(0, nowNs - scheduledNs) / 1e9)
      }
    } else {
      const gap = (nowNs - choice.lastTokenNs) / 1e9 / tokens
      for (let i = 0; i < tokens; i++) this.#itl.observe(gap)
    }
    choice.lastTokenNs = nowNs
  }

  observeFinished(choice: Choice, promptTokens: number, arrivalNs: number, nowNs: number): void {
    this.countFinished(choice.finishReason ?? 'abort')
    this.#endToEnd.observe((nowNs - arrivalNs) / 1e9)
    this.#decode.observe((choice.lastTokenNs - choice.firstTokenNs) / 1e9)
    this.#promptTokens.observe(promptTokens)
    this.#generationTokens.observe(choice.completionTokens)
  }

  /** A request was read from a socket for a generation route. */
  countAccepted(): void {
    this.#accepted++
  }

  countOutcome(outcome: RequestOutcome): void {
    increase(this.#outcomes, outcome)
  }

  countFinished(reason: 'stop' | 'length' | 'abort'): void {
    increase(this.#finished, reason)
  }

  countIgnored(label: string): void {
    increase(this.#ignored, label)
  }

  /** The exposition text. `engine` is null until the model is loaded. */
  render(modelName: string, engine: EngineStats | null): string {
    const labels = `model_name="${modelName.replace(/[\\"\n]/g, '_')}"`
    const one = (name: string, type: 'counter' | 'gauge', help: string, value: number) =>
      `# HELP ${PREFIX}${name} ${help}\n# TYPE ${PREFIX}${name} ${type}\n${PREFIX}${name}{${labels}} ${value}\n`
    const many = (name: string, help: string, label: string, values: ReadonlyMap<string, number>) =>
      `# HELP ${PREFIX}${name} ${help}\n# TYPE ${PREFIX}${name} counter\n` +
      [...values].map(([key, value]) => `${PREFIX}${name}{${labels},${label}="${key}"} ${value}\n`).join('')
    return [
      ...(engine === null ? [] : engineSamples(engine, one)),
      one('requests_accepted_total', 'counter', 'Generation requests read from a socket.', this.#accepted),
      many('requests_total', 'Generation requests ended, by outcome.', 'outcome', this.#outcomes),
      many('request_success_total', 'Sequences ended, by reason.', 'finished_reason', this.#finished),
      many('request_fields_ignored_total', 'Request fields without effect.', 'field', this.#ignored),
      one('process_resident_memory_bytes', 'gauge', 'Resident memory of the server.', process.memoryUsage.rss()),
      ...this.#histograms().map((each) => each.render(labels)),
    ].join('')
  }

  #histograms(): Histogram[] {
    return [
      ...[this.#ttft, this.#itl, this.#endToEnd, this.#queue],
      ...[this.#prefill, this.#decode, this.#promptTokens, this.#generationTokens],
    ]
  }
}

function engineSamples(
  stats: EngineStats,
  one: (name: string, type: 'counter' | 'gauge', help: string, value: number) => string,
): string[] {
  const usage = stats.kvBlocksTotal > 0 ? stats.kvBlocksUsed / stats.kvBlocksTotal : 0
  return [
    one('num_requests_running', 'gauge', 'Sequences in the running batch.', stats.running),
    one('num_requests_waiting', 'gauge', 'Sequences waiting to run.', stats.waiting),
    one('kv_cache_usage_perc', 'gauge', 'KV cache in use; 1 is all of it.', usage),
    one('kv_blocks_used', 'gauge', 'KV blocks in use.', stats.kvBlocksUsed),
    one('kv_blocks_total', 'gauge', 'KV blocks there are.', stats.kvBlocksTotal),
    one('prompt_tokens_total', 'counter', 'Prompt tokens of admitted sequences.', stats.promptTokens),
    one('generation_tokens_total', 'counter', 'Tokens generated.', stats.generationTokens),
    one('prefix_cache_queries_total', 'counter', 'Prompt tokens looked up in the prefix cache.', stats.promptTokens),
    one('prefix_cache_hits_total', 'counter', 'Prompt tokens found in the prefix cache.', stats.cachedPromptTokens),
    one('num_preemptions_total', 'counter', 'Sequences preempted.', stats.preemptions),
    one('engine_steps_total', 'counter', 'Engine steps run.', stats.steps),
    one('padded_tokens_total', 'counter', 'Token positions computed for nothing.', stats.paddedTokens),
    one('engine_sequences_accepted_total', 'counter', 'Sequences the engine took.', stats.requestsAccepted),
  ]
}

function histogram(name: string, help: string, bounds: readonly number[]): Histogram {
  return new Histogram(PREFIX + name, help, bounds)
}

function increase(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}
