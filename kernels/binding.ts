import koffi from 'koffi'

/**
 * The koffi mirror of kernels.h: one device of one backend library. Shapes, types and meaning stand in kernels.h; here a status
 * becomes a typed error and a tensor is a plain number (an address in device memory, exact below 2^53).
 * All calls are synchronous and belong on one thread: the engine's worker.
 */
export type Address = number

/** KN_ABI_VERSION of kernels.h. */
const ABI_VERSION = 2

export const KERNEL_STATUS = {
  0: 'KN_OK',
  1: 'KN_INVALID_ARGUMENT',
  2: 'KN_OUT_OF_MEMORY',
  3: 'KN_NO_DEVICE',
  4: 'KN_LAUNCH_FAILED',
  5: 'KN_UNSUPPORTED',
  6: 'KN_TIMEOUT',
  7: 'KN_INTERNAL',
} as const
export type KernelStatus = (typeof KERNEL_STATUS)[keyof typeof KERNEL_STATUS]

/** A kernel library said no. `code` is its status, `operation` the call, the message its own text. */
export class KernelError extends Error {
  constructor(
    readonly code: KernelStatus,
    readonly operation: string,
    text: string,
  ) {
    super(`${text.startsWith(`${operation}:`) ? '' : `${operation}: `}${text} (${code})`)
    this.name = 'KernelError'
  }
}

export const DTYPE = { f32: 0, bf16: 1, f16: 2, i32: 3 } as const
export type Dtype = keyof typeof DTYPE

/** Indices into the staging header, the slot table and their sizes: the enums of kernels.h. */
export const STEP = { rows: 0, tokens: 1, samples: 2, changes: 3, decodeRows: 4, header: 16 } as const
export const SLOT = {
  temperature: 0,
  topK: 1,
  topP: 2,
  minP: 3,
  repetition: 4,
  presence: 5,
  frequency: 6,
  seedLow: 7,
  seedHigh: 8,
  prompt: 9,
  minLength: 10,
  stop0: 11,
  stop1: 12,
  stop2: 13,
  stop3: 14,
  flags: 15,
  blocks: 16,
} as const

export interface DeviceOptions {
  dtype: 'f32' | 'bf16'
  deterministic?: boolean
  fault?: string
  threads?: number
  isa?: string
  device?: number
  cublaslt?: string
  /** CUDA: file that keeps which kernel kn_matmul chose for a shape; absent or '': none. */
  matmul_choices?: string
  /** false: prefill attention by mma.sync on compute capability 9.0 too. */
  wgmma?: boolean
  /** CUDA: 'auto'; 'library': never the Hopper kernel of our own; 'hopper:V': its variant V wherever it can run, to try it. */
  matmul?: string
}

export interface DeviceInfo {
  backend: 'cpu' | 'cuda'
  name: string
  isa?: string | null
  computeCapability?: string | null
  threads?: number | null
  multiprocessors?: number | null
  dtype: 'f32' | 'bf16'
  /** Bytes per element. */
  weightBytes: number
  activationBytes: number
  kvBytes: number
  activationDtype: Dtype
  memoryTotalBytes: number | null
  driver?: string | null
  runtime?: string | null
  cublaslt?: string | null
  uuid?: string | null
  pciBusId?: string | null
}

/** The argument types of each function after the device: a address/f64 number, i i32, f f32, p pointer to host memory, o* out. */
const SIGNATURES = {
  device_info: 'os i',
  memory_info: 'od od od',
  buffer_alloc: 'd oa',
  buffer_free: 'a',
  buffer_fill: 'a i d',
  host_alloc: 'd oa',
  host_free: 'a',
  upload: 'a p d',
  download: 'p a d',
  upload_async: 'a a d',
  download_async: 'a a d',
  event_create: 'oi',
  event_destroy: 'i',
  event_record: 'i',
  event_query: 'i oi',
  event_wait: 'i i',
  event_elapsed: 'i i of',
  synchronize: '',
  graph_begin: '',
  graph_end: 'oi',
  graph_launch: 'i',
  graph_destroy: 'i',
  weight_bytes: 'i i od',
  weight_load: 'a p i i i',
  weight_random: 'a i i i f',
  vector_load: 'a p i',
  step_prepare: 'a a a a a a a a i i i i i i i i i',
  embedding: 'a a a i i i',
  rmsnorm: 'a a a i i f',
  add_rmsnorm: 'a a a a a i i f',
  add: 'a a i i',
  matmul: 'a a a a i i i i',
  attention_input: 'a a a a a a f a a a a a a d i i i i i i',
  mlp_input: 'a a a a a a a f a i i i',
  rope_store: 'a a a a a d i i i i i',
  rope: 'a a a i i i i',
  kv_store: 'a a a d i i i i i',
  attention: 'a a i a d i a a a a i i i i i i i f i a',
  attention_workspace: 'i i i i i od',
  silu_mul: 'a a i i',
  silu: 'a a i i',
  mul: 'a a i i',
  gather_rows: 'a a a i i',
  sample: 'a a a a a a i a i i i i a',
  sample_workspace: 'i i od',
  logprobs: 'a a a a i i i',
  copy: 'a a d',
  read: 'a a d',
} as const

const TYPES: Record<string, string> = {
  a: 'uint64_t',
  d: 'double',
  i: 'int32_t',
  f: 'float',
  p: 'void *',
  oa: '_Out_ uint64_t *',
  oi: '_Out_ int32_t *',
  od: '_Out_ double *',
  of: '_Out_ float *',
  os: '_Out_ char *',
}

type Call = (...args: unknown[]) => number
type OperationName = keyof typeof SIGNATURES

/** An event handle, a graph handle: small integers of the library. */
export type EventId = number
export type GraphId = number

export class Kernels {
  readonly info: DeviceInfo
  readonly #calls: Record<OperationName, Call>
  readonly #lastError: Call
  readonly #destroy: Call
  readonly #device: number

  /** Opens the library at `path` and creates its device. Throws KernelError (KN_NO_DEVICE, ...) or an Error when the file cannot be loaded. */
  constructor(
    readonly path: string,
    options: DeviceOptions,
  ) {
    const library = koffi.load(path)
    const version = library.func('int32_t kn_abi_version(void)')() as number
    if (version !== ABI_VERSION)
      throw new Error(`${path}: kernel ABI ${version}, expected ${ABI_VERSION}; rebuild the kernels`)
    this.#lastError = library.func('int32_t kn_last_error(uint64_t device, _Out_ char *text, int32_t size)') as Call
    this.#destroy = library.func('int32_t kn_device_destroy(uint64_t device)') as Call
    const create = library.func('int32_t kn_device_create(const char *options, _Out_ uint64_t *device)') as Call
    const device = [0]
    const status = create(JSON.stringify(options), device)
    if (status !== 0) throw this.#error('device_create', status, 0)
    this.#device = Number(device[0])
    const calls = {} as Record<OperationName, Call>
    for (const [name, signature] of Object.entries(SIGNATURES)) {
      const types = signature === '' ? [] : signature.split(' ').map((letter) => TYPES[letter])
      calls[name as OperationName] = library.func(`int32_t kn_${name}(${['uint64_t', ...types].join(', ')})`) as Call
    }
    this.#calls = calls
    this.info = this.#deviceInfo()
  }

  destroy(): void {
    this.#destroy(this.#device)
  }

  memory(): { freeBytes: number; totalBytes: number; peakBytes: number } {
    const free = [0]
    const total = [0]
    const peak = [0]
    this.#run('memory_info', free, total, peak)
    return { freeBytes: free[0]!, totalBytes: total[0]!, peakBytes: peak[0]! }
  }

  alloc(bytes: number): Address {
    const address = [0]
    this.#run('buffer_alloc', bytes, address)
    return Number(address[0])
  }
  free(address: Address): void {
    this.#run('buffer_free', address)
  }
  fill(address: Address, byteValue: number, bytes: number): void {
    this.#run('buffer_fill', address, byteValue, bytes)
  }

  /** Pinned host memory, as an address and as a zero-copy view. */
  hostAlloc(bytes: number): { address: Address; buffer: ArrayBuffer } {
    const address = [0]
    this.#run('host_alloc', bytes, address)
    return { address: Number(address[0]), buffer: koffi.view(BigInt(address[0]!) as never, bytes) }
  }
  hostFree(address: Address): void {
    this.#run('host_free', address)
  }

  upload(destination: Address, source: ArrayBufferView, bytes: number = source.byteLength): void {
    this.#run('upload', destination, source, bytes)
  }
  download(destination: ArrayBufferView, source: Address, bytes: number = destination.byteLength): void {
    this.#run('download', destination, source, bytes)
  }
  uploadAsync(destination: Address, hostSource: Address, bytes: number): void {
    this.#run('upload_async', destination, hostSource, bytes)
  }
  downloadAsync(hostDestination: Address, source: Address, bytes: number): void {
    this.#run('download_async', hostDestination, source, bytes)
  }

  eventCreate(): EventId {
    const event = [0]
    this.#run('event_create', event)
    return event[0]!
  }
  eventDestroy(event: EventId): void {
    this.#run('event_destroy', event)
  }
  eventRecord(event: EventId): void {
    this.#run('event_record', event)
  }
  eventQuery(event: EventId): boolean {
    const done = [0]
    this.#run('event_query', event, done)
    return done[0] === 1
  }
  /** True when the event came, false when `timeoutMs` ran out. */
  eventWait(event: EventId, timeoutMs: number): boolean {
    const status = this.#calls.event_wait(this.#device, event, timeoutMs)
    if (status === 6) return false
    if (status !== 0) throw this.#error('event_wait', status, this.#device)
    return true
  }
  eventElapsedMs(start: EventId, end: EventId): number {
    const milliseconds = [0]
    this.#run('event_elapsed', start, end, milliseconds)
    return milliseconds[0]!
  }
  synchronize(): void {
    this.#run('synchronize')
  }

  graphBegin(): void {
    this.#run('graph_begin')
  }
  graphEnd(): GraphId {
    const graph = [0]
    this.#run('graph_end', graph)
    return graph[0]!
  }
  graphLaunch(graph: GraphId): void {
    this.#run('graph_launch', graph)
  }
  graphDestroy(graph: GraphId): void {
    this.#run('graph_destroy', graph)
  }

  weightBytes(n: number, k: number): number {
    return this.#number('weight_bytes', n, k)
  }
  /** source: [n, k] of sourceDtype, as raw bytes. */
  weightLoad(weight: Address, source: ArrayBufferView, sourceDtype: Dtype, n: number, k: number): void {
    this.#run('weight_load', weight, source, DTYPE[sourceDtype], n, k)
  }
  weightRandom(weight: Address, n: number, k: number, seed: number, scale: number): void {
    this.#run('weight_random', weight, n, k, seed, scale)
  }
  vectorLoad(vector: Address, source: Float32Array): void {
    this.#run('vector_load', vector, source, source.length)
  }

  stepPrepare(
    ...args: [
      staging: Address,
      slotTable: Address,
      history: Address,
      ids: Address,
      positions: Address,
      kvSlot: Address,
      kvLength: Address,
      sampleIndex: Address,
      rows: number,
      tokens: number,
      samples: number,
      maxRows: number,
      maxChanges: number,
      maxTokens: number,
      slotStride: number,
      historyStride: number,
      blockSize: number,
    ]
  ): void {
    this.#run('step_prepare', ...args)
  }

  embedding(...args: [out: Address, table: Address, ids: Address, tokens: number, vocab: number, width: number]): void {
    this.#run('embedding', ...args)
  }
  rmsnorm(...args: [out: Address, input: Address, weight: Address, tokens: number, width: number, eps: number]): void {
    this.#run('rmsnorm', ...args)
  }
  addRmsnorm(
    ...args: [
      out: Address,
      residualOut: Address,
      residual: Address,
      input: Address,
      weight: Address,
      tokens: number,
      width: number,
      eps: number,
    ]
  ): void {
    this.#run('add_rmsnorm', ...args)
  }
  add(...args: [residual: Address, input: Address, tokens: number, width: number]): void {
    this.#run('add', ...args)
  }
  /** bias 0: none. outDtype: DTYPE[...] of the activations, or DTYPE.f32 for logits. */
  matmul(
    ...args: [
      out: Address,
      input: Address,
      weight: Address,
      bias: Address,
      m: number,
      n: number,
      k: number,
      outDtype: number,
    ]
  ): void {
    this.#run('matmul', ...args)
  }
  /** branch 0: none. bias 0: none. */
  attentionInput(
    ...args: [
      qkv: Address,
      residualOut: Address,
      normed: Address,
      residual: Address,
      branch: Address,
      norm: Address,
      eps: number,
      weight: Address,
      bias: Address,
      positions: Address,
      kvSlot: Address,
      rope: Address,
      kv: Address,
      blockStride: number,
      blockSize: number,
      tokens: number,
      width: number,
      heads: number,
      kvHeads: number,
      headDim: number,
    ]
  ): void {
    this.#run('attention_input', ...args)
  }
  mlpInput(
    ...args: [
      gated: Address,
      residualOut: Address,
      normed: Address,
      gateUp: Address,
      residual: Address,
      branch: Address,
      norm: Address,
      eps: number,
      weight: Address,
      tokens: number,
      width: number,
      inner: number,
    ]
  ): void {
    this.#run('mlp_input', ...args)
  }
  ropeStore(
    ...args: [
      qkv: Address,
      positions: Address,
      kvSlot: Address,
      rope: Address,
      kv: Address,
      blockStride: number,
      blockSize: number,
      tokens: number,
      heads: number,
      kvHeads: number,
      headDim: number,
    ]
  ): void {
    this.#run('rope_store', ...args)
  }
  rope(
    ...args: [
      qkv: Address,
      positions: Address,
      rope: Address,
      tokens: number,
      heads: number,
      kvHeads: number,
      headDim: number,
    ]
  ): void {
    this.#run('rope', ...args)
  }
  kvStore(
    ...args: [
      qkv: Address,
      kvSlot: Address,
      kv: Address,
      blockStride: number,
      blockSize: number,
      tokens: number,
      heads: number,
      kvHeads: number,
      headDim: number,
    ]
  ): void {
    this.#run('kv_store', ...args)
  }
  attention(
    ...args: [
      out: Address,
      q: Address,
      qStride: number,
      kv: Address,
      blockStride: number,
      blockSize: number,
      queryStart: Address,
      kvLength: Address,
      rowSlot: Address,
      slotTable: Address,
      slotStride: number,
      rows: number,
      decodeRows: number,
      tokens: number,
      heads: number,
      kvHeads: number,
      headDim: number,
      scale: number,
      maxKv: number,
      workspace: Address,
    ]
  ): void {
    this.#run('attention', ...args)
  }
  attentionWorkspaceBytes(maxRows: number, maxTokens: number, heads: number, headDim: number, maxKv: number): number {
    return this.#number('attention_workspace', maxRows, maxTokens, heads, headDim, maxKv)
  }
  siluMul(...args: [out: Address, gateUp: Address, tokens: number, width: number]): void {
    this.#run('silu_mul', ...args)
  }
  silu(...args: [out: Address, gateUp: Address, tokens: number, width: number]): void {
    this.#run('silu', ...args)
  }
  mul(...args: [out: Address, gateUp: Address, tokens: number, width: number]): void {
    this.#run('mul', ...args)
  }
  gatherRows(...args: [out: Address, input: Address, index: Address, samples: number, width: number]): void {
    this.#run('gather_rows', ...args)
  }
  sample(
    ...args: [
      tokens: Address,
      logits: Address,
      sampleRow: Address,
      rowSlot: Address,
      kvLength: Address,
      slotTable: Address,
      slotStride: number,
      history: Address,
      historyStride: number,
      samples: number,
      vocab: number,
      greedyOnly: number,
      workspace: Address,
    ]
  ): void {
    this.#run('sample', ...args)
  }
  sampleWorkspaceBytes(maxSamples: number, vocab: number): number {
    return this.#number('sample_workspace', maxSamples, vocab)
  }
  logprobs(
    ...args: [
      outLogprob: Address,
      outToken: Address,
      logits: Address,
      tokens: Address,
      samples: number,
      vocab: number,
      top: number,
    ]
  ): void {
    this.#run('logprobs', ...args)
  }
  copy(destination: Address, source: Address, bytes: number): void {
    this.#run('copy', destination, source, bytes)
  }
  read(out: Address, source: Address, bytes: number): void {
    this.#run('read', out, source, bytes)
  }

  #run(operation: OperationName, ...args: unknown[]): void {
    const status = this.#calls[operation](this.#device, ...args)
    if (status !== 0) throw this.#error(operation, status, this.#device)
  }

  #number(operation: OperationName, ...args: unknown[]): number {
    const out = [0]
    this.#run(operation, ...args, out)
    return out[0]!
  }

  #deviceInfo(): DeviceInfo {
    const text = ['\0'.repeat(8192)]
    this.#run('device_info', text, 8192)
    return JSON.parse(text[0]!) as DeviceInfo
  }

  #error(operation: string, status: number, device: number): KernelError {
    const text = ['\0'.repeat(4096)]
    this.#lastError(device, text, 4096)
    const code = KERNEL_STATUS[status as keyof typeof KERNEL_STATUS] ?? 'KN_INTERNAL'
    return new KernelError(code, `kn_${operation}`, text[0] || 'no error text')
  }
}
