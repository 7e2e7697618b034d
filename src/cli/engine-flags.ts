import { Option } from 'commander'

/** Flags of the built-in engines that `bench run` takes and hands on, spelled as vLLM spells them. `bench serve --help` explains each. */
const VALUE_FLAGS = {
  dtype: 'weights: auto, bf16 or f32',
  backend: 'auto, cpu or cuda',
  'max-model-len': 'longest context, tokens',
  'max-num-seqs': 'sequences that run at once (paged)',
  'max-num-batched-tokens': 'token budget of one step',
  'block-size': 'tokens per KV block (paged)',
  'kv-cache-bytes': 'size of the KV pool, bytes (CPU)',
  'gpu-memory-utilization': 'share of GPU memory to use, weights included',
  'scheduling-policy': 'fcfs or priority (paged)',
  'long-prefill-token-threshold': 'prompt tokens of one sequence per step, at most',
  'batch-size': 'largest batch (static)',
  'static-max-wait-ms': 'how long a static batch gathers',
  threads: 'threads of the CPU kernels',
  seed: 'seed of random weights',
  cublaslt: 'path of libcublasLt, or none',
  'kernel-choices': 'file that keeps which kernels were timed as fastest (CUDA), or none',
  'max-queue': 'requests accepted before 429',
} as const
const SWITCHES = {
  'enforce-eager': 'no CUDA graphs',
  deterministic: 'results independent of batch composition (slower on CUDA)',
  'no-enable-prefix-caching': 'no prefix cache (paged)',
  'no-enable-chunked-prefill': 'whole prompts in one step (paged)',
  'no-async-scheduling': 'read the tokens of a step before planning the next',
  'no-fused-kernels': 'every fused operation as its unfused twins',
  'no-wgmma': 'prefill attention by mma.sync on compute capability 9.0 too',
} as const

export function engineOptions(): Option[] {
  return [
    ...Object.entries(VALUE_FLAGS).map(([name, help]) =>
      new Option(`--${name} <value>`, help).helpGroup('Engine flags (built-in engines):'),
    ),
    ...Object.entries(SWITCHES).map(([name, help]) =>
      new Option(`--${name}`, help).helpGroup('Engine flags (built-in engines):'),
    ),
  ]
}

/** The arguments to hand to an engine process, from commander's parsed options (camelCase keys; --no-x arrives as x: false). */
export function engineArguments(options: Record<string, unknown>): string[] {
  const values = Object.keys(VALUE_FLAGS).flatMap((name) => {
    const value = options[camelCase(name)]
    return value === undefined ? [] : [`--${name}`, String(value)]
  })
  const switches = Object.keys(SWITCHES).filter((name) =>
    name.startsWith('no-') ? options[camelCase(name.slice(3))] === false : options[camelCase(name)] === true,
  )
  return [...values, ...switches.map((name) => `--${name}`)]
}

function camelCase(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
}
