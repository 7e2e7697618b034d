/** What a scenario is once parsed: frozen, defaults filled in, every quantity in its base unit. See docs of the YAML form in schema.ts. */
export const SCENARIO_SCHEMA = 'bench/scenario@1'

/** A distribution of whole numbers (token counts) or of milliseconds. `min` and `max` clamp every draw. */
export type Distribution =
  | { dist: 'fixed'; value: number }
  | { dist: 'uniform'; min: number; max: number }
  | { dist: 'lognormal'; mean: number; cv: number; min: number; max: number }
  | { dist: 'normal'; mean: number; sd: number; min: number; max: number }
  | { dist: 'exponential'; mean: number; min: number; max: number }

/** How output lengths are enforced: ignore_eos makes every answer exactly as long as planned. */
export type OutputEnforcement = 'ignore_eos' | 'min_tokens' | 'none'

/** Prompts that share their first `tokens` tokens: `share` of the requests belong to one of `groups` prefixes. */
export interface PrefixPool {
  groups: number
  tokens: number
  share: number
}

export interface ConversationShape {
  turns: Distribution
  thinkMs: Distribution
}

/** One kind of request; a workload is a weighted list of them (mostly of one). */
export interface RequestShape {
  weight: number
  input: Distribution
  output: Distribution
  prefix: PrefixPool | null
  conversation: ConversationShape | null
}

export type WorkloadKind = 'synthetic' | 'dataset' | 'trace'
export type PromptKind = 'ids' | 'text'
/** 'sharegpt': its JSON; 'prompts': one prompt a line, or JSON lines with `prompt` and optional `output_tokens`. */
export type DatasetFormat = 'sharegpt' | 'prompts'

export interface Dataset {
  file: string
  format: DatasetFormat
  /** Prompts longer than this, and pairs longer in total, are left out (counted in the plan's notes). */
  maxInputTokens: number
  maxTotalTokens: number
}

export interface Workload {
  kind: WorkloadKind
  prompt: PromptKind
  shapes: RequestShape[]
  enforce: OutputEnforcement
  dataset: Dataset | null
}

export type TraceFormat = 'mooncake' | 'azure' | 'burstgpt' | 'jsonl'

/** One stretch of a rate profile, from `fromRate` to `toRate` requests/s in a straight line. secs null: until the requests run out. */
export interface RateStage {
  fromRate: number
  toRate: number
  secs: number | null
}

export type ArrivalProcess = 'constant' | 'poisson' | 'gamma'

/** When requests are offered. */
export type Arrival =
  | {
      kind: 'closed'
      concurrency: number
      thinkMs: Distribution | null
      /** The first wave's slots open evenly over this time; 0: all in one instant. */
      staggerMs: number
    }
  | {
      kind: 'open'
      process: ArrivalProcess
      /** Shape k of the gamma process: 1 is Poisson, smaller is burstier. */
      burstiness: number
      stages: RateStage[]
      /** Requests in flight before an arrival is dropped. */
      cap: number
    }
  | { kind: 'replay'; file: string; format: TraceFormat | null; scale: number; cap: number }

export interface LoadPlan {
  arrival: Arrival
  /** Measured requests planned; null: as many as the stages or the trace hold. */
  requests: number | null
  warmupRequests: number
  /** Where counts were given as '10x': per unit of concurrency (or of requests/s), for sweeps; null: absolute. */
  requestsPerUnit: number | null
  warmupPerUnit: number | null
  /** The first wave's stagger as asked, for sweeps; null: by the rule of stagger.ts. */
  staggerAskedMs: number | null
  /** No request of the measured phase is sent after this time; null: no limit. */
  maxSecs: number | null
}

export const SLO_METRICS = ['ttft', 'ttft_intended', 'tpot', 'itl', 'e2e'] as const
export type SloMetric = (typeof SLO_METRICS)[number]

export interface SloTerm {
  metric: SloMetric
  /** 99 of "p99<2000ms". */
  percentile: number
  limitMs: number
}

export interface Slo {
  /** The preset's name, when it is one. */
  name: string | null
  source: string | null
  terms: SloTerm[]
  /** Share of measured requests that may fail. */
  maxErrorShare: number
}

export type CachePolicy = 'cold' | 'shared' | 'warm' | 'as-is'

export interface Repeats {
  min: number
  max: number
  /** Stop early once the 95 % confidence interval's half width is below this share of the mean; null: run `max`. */
  untilCi95: number | null
}

export interface Sampling {
  temperature: number
  topP: number | null
  seed: number
}

/** Deadlines of one request, seconds; ours, none of the HTTP library's. */
export interface Timeouts {
  connectSecs: number
  headerSecs: number
  firstTokenSecs: number
  stallSecs: number
  requestSecs: number
}

export type Sweep = { variable: 'concurrency' | 'rate'; values: number[] }
export type Search = { variable: 'rate' | 'concurrency'; low: number; high: number; maxProbes: number }

export interface Scenario {
  schema: typeof SCENARIO_SCHEMA
  name: string
  /** One line: what it is for. */
  description: string
  /** Where its numbers come from. */
  origin: string | null
  workload: Workload
  load: LoadPlan
  sweep: Sweep | null
  search: Search | null
  slo: Slo
  cache: CachePolicy
  seeds: { arrivals: number; lengths: number; content: number }
  repeats: Repeats
  sampling: Sampling
  timeouts: Timeouts
  /** Seconds the measured window must last at least for a VALID run. */
  minWindowSecs: number
}
