import type { Dtype } from '../../kernels/binding.js'
import { ModelError } from './errors.js'
import type { FileReader } from './file-reader.js'
import { type BlockFormat, dequantise } from './quantisation.js'

/** Where one tensor lies in a file, and how. */
export interface TensorView {
  name: string
  /** Row-major, outermost first. */
  shape: readonly number[]
  /** As the file names it. */
  dtype: string
  /** null: a type that is not loaded. */
  format: BlockFormat | null
  file: FileReader
  offset: number
  byteLength: number
  /** > 0: GGUF's order of the rotary pairs in that many heads, undone while reading. */
  permutedHeads: number
}

/** Host memory [n, k] for kn_weight_load. */
export interface HostMatrix {
  data: Uint8Array | Uint16Array | Float32Array
  dtype: Dtype
  n: number
  k: number
}

/** Elements dequantised at a time: 4 MiB of f32. */
const CHUNK_ELEMENTS = 1 << 20

/**
 * The rows of the matrices `views`, one below the other (q, k, v; gate, up). Stored f32, f16 and bf16 are passed as they are when all
 * agree; everything else becomes `target`. Throws ModelError tensor_shape, unsupported_dtype, file_truncated.
 */
export function readMatrix(views: readonly TensorView[], n: number, k: number, target: 'f32' | 'bf16'): HostMatrix {
  for (const view of views) checkMatrix(view, k)
  const rows = views.reduce((sum, view) => sum + view.shape[0]!, 0)
  if (rows !== n) throw shapeError(views[0]!, `[${n}, ${k}] in all`)
  const plain = formatOf(views[0]!).plain
  if (plain !== null && views.every((view) => view.format?.plain === plain)) return readPlain(views, plain, n, k)
  const data = target === 'f32' ? new Float32Array(n * k) : new Uint16Array(n * k)
  let row = 0
  for (const view of views) {
    const part = data.subarray(row * k, (row + view.shape[0]!) * k)
    readConverted(view, part)
    unpermuteRows(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), view, k * part.BYTES_PER_ELEMENT)
    row += view.shape[0]!
  }
  return { data, dtype: target, n, k }
}

/** The vectors `views` one behind the other, as f32 [n]. */
export function readVector(views: readonly TensorView[], n: number): Float32Array {
  const vector = new Float32Array(n)
  let at = 0
  for (const view of views) {
    const length = view.shape.reduce((product, dimension) => product * dimension, 1)
    if (at + length > n) throw shapeError(view, `[${n}] in all`)
    const part = vector.subarray(at, at + length)
    dequantise(formatOf(view), view.file.read(view.offset, view.byteLength, view.name), part)
    unpermuteRows(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), view, 4)
    at += length
  }
  if (at !== n) throw shapeError(views[0]!, `[${n}] in all`)
  return vector
}

function readPlain(views: readonly TensorView[], dtype: Dtype, n: number, k: number): HostMatrix {
  const elementBytes = dtype === 'f32' ? 4 : 2
  const data = new Uint8Array(n * k * elementBytes)
  let at = 0
  for (const view of views) {
    const part = data.subarray(at, at + view.byteLength)
    view.file.readInto(part, view.offset, view.name)
    unpermuteRows(part, view, k * elementBytes)
    at += view.byteLength
  }
  return { data, dtype, n, k }
}

/** Dequantises in chunks of whole blocks. */
function readConverted(view: TensorView, out: Float32Array | Uint16Array): void {
  const format = formatOf(view)
  const chunk = Math.max(1, Math.floor(CHUNK_ELEMENTS / format.blockElements)) * format.blockElements
  const scratch = out instanceof Float32Array ? null : new Float32Array(Math.min(chunk, out.length))
  for (let from = 0; from < out.length; from += chunk) {
    const count = Math.min(chunk, out.length - from)
    const block = from / format.blockElements
    const length = (count / format.blockElements) * format.blockBytes
    const bytes = view.file.read(view.offset + block * format.blockBytes, length, view.name)
    if (scratch === null) dequantise(format, bytes, (out as Float32Array).subarray(from, from + count))
    else {
      dequantise(format, bytes, scratch.subarray(0, count))
      roundToBf16(scratch, out as Uint16Array, from, count)
    }
  }
}

/** Nearest even, on the bits, in 32-bit integer arithmetic throughout. */
function roundToBf16(source: Float32Array, out: Uint16Array, from: number, count: number): void {
  const bits = new Int32Array(source.buffer, source.byteOffset, count)
  for (let i = 0; i < count; i++) {
    const value = bits[i]!
    out[from + i] = ((value + 0x7fff + ((value >>> 16) & 1)) | 0) >>> 16
  }
}

/**
 * llama.cpp's converter interleaves the two halves of each query and key head (convert_hf_to_gguf.py, LlamaModel.permute): its row
 * 2 i + j is our row j D/2 + i. Restores ours, in place.
 */
function unpermuteRows(data: Uint8Array, view: TensorView, rowBytes: number): void {
  if (view.permutedHeads === 0) return
  const headDim = view.shape[0]! / view.permutedHeads
  const headBytes = headDim * rowBytes
  for (let head = 0; head < view.permutedHeads; head++) {
    const rows = data.subarray(head * headBytes, (head + 1) * headBytes)
    const source = rows.slice()
    for (let row = 0; row < headDim; row++) {
      const from = 2 * (row % (headDim / 2)) + Math.floor(row / (headDim / 2))
      rows.set(source.subarray(from * rowBytes, (from + 1) * rowBytes), row * rowBytes)
    }
  }
}

function formatOf(view: TensorView): BlockFormat {
  if (view.format !== null) return view.format
  throw new ModelError(
    'unsupported_dtype',
    `${view.file.path}: ${view.name} is stored as ${view.dtype}`,
    view.name,
    'take a checkpoint in F32, F16 or BF16',
  )
}

function checkMatrix(view: TensorView, k: number): void {
  if (view.shape.length !== 2 || view.shape[1] !== k) throw shapeError(view, `[.., ${k}]`)
}

function shapeError(view: TensorView, expected: string): ModelError {
  return new ModelError(
    'tensor_shape',
    `${view.file.path}: ${view.name} has shape [${view.shape}], the configuration asks for ${expected}`,
    view.name,
    'the weights and the configuration are not of one model',
  )
}
