/** Options of one engine process, spelled on the command line as vLLM spells them (--max-num-seqs, ...). Parsed in main.ts; every optimisation has its own switch. */
export interface EngineOptions {
  engine: 'static' | 'paged'
  /** Preset name, Hugging Face directory, .gguf file or hf:org/name. */
  model: string
  servedModelName: string | null
  host: string
  port: number
  /** Read from the environment (BENCH_API_KEY) or --api-key-file; never from the command line. */
  apiKey: string | null
  backend: 'auto' | 'cpu' | 'cuda'
  dtype: 'auto' | 'f32' | 'bf16'
  seed: number
  threads: number
  maxModelLen: number
  maxNumSeqs: number
  maxNumBatchedTokens: number
  blockSize: number
  /** null: from gpuMemoryUtilization (CUDA) or a quarter of the free memory, at most 2 GiB (CPU). */
  kvCacheBytes: number | null
  gpuMemoryUtilization: number
  schedulingPolicy: 'fcfs' | 'priority'
  /** Switches of the paged engine. */
  enablePrefixCaching: boolean
  enableChunkedPrefill: boolean
  asyncScheduling: boolean
  longPrefillTokenThreshold: number
  /** Static engine. */
  batchSize: number
  staticMaxWaitMs: number
  staticVariant: 'literal' | 'generous'
  /** Both. */
  enforceEager: boolean
  fusedKernels: boolean
  /** Prefill attention by warpgroup matrix instructions where the GPU has them (compute capability 9.0). */
  wgmma: boolean
  deterministic: boolean
  cublaslt: string
  /** File that keeps which kernels were chosen by timing (CUDA); 'auto': in the cache directory, 'none': choose at every start. */
  kernelChoices: string
  stepTrace: string | null
  /** Requests accepted and not yet finished before 429. */
  maxQueue: number
  /** Test hook: passed to kn_device_create. */
  fault: string
}
