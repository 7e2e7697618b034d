import { findDuplicateKey } from './duplicate-key.js'
import { ModelError } from './errors.js'
import type { FileReader } from './file-reader.js'
import { BLOCK_FORMATS } from './quantisation.js'
import type { TensorView } from './tensors.js'

const MAX_HEADER_BYTES = 100_000_000
const MAX_DIMENSIONS = 8

/** Bytes per element of every type the format knows; those with a `format` can be loaded. */
const DTYPES: Readonly<Record<string, { bytes: number; format: (typeof BLOCK_FORMATS)[number] | null }>> = {
  F64: { bytes: 8, format: null },
  F32: { bytes: 4, format: BLOCK_FORMATS[0]! },
  F16: { bytes: 2, format: BLOCK_FORMATS[1]! },
  BF16: { bytes: 2, format: BLOCK_FORMATS[30]! },
  I64: { bytes: 8, format: null },
  I32: { bytes: 4, format: null },
  I16: { bytes: 2, format: null },
  I8: { bytes: 1, format: null },
  U64: { bytes: 8, format: null },
  U32: { bytes: 4, format: null },
  U16: { bytes: 2, format: null },
  U8: { bytes: 1, format: null },
  BOOL: { bytes: 1, format: null },
  F8_E4M3: { bytes: 1, format: null },
  F8_E5M2: { bytes: 1, format: null },
}

/**
 * The tensors of one safetensors file: u64 header length, JSON header, data (github.com/huggingface/safetensors, README "Format").
 * Stricter than upstream: the header begins with '{', no name stands twice, spans neither overlap nor leave holes, at most 8
 * dimensions. Throws ModelError.
 */
export function readSafetensors(file: FileReader): Map<string, TensorView> {
  const headerBytes = readHeaderLength(file)
  const header = readHeader(file, headerBytes)
  const dataStart = 8 + headerBytes
  const tensors: TensorView[] = []
  for (const [name, entry] of Object.entries(header)) {
    if (name !== '__metadata__') tensors.push(readTensor(file, name, entry, dataStart))
  }
  checkCoverage(file, dataStart, tensors)
  return new Map(tensors.map((tensor) => [tensor.name, tensor]))
}

function readHeaderLength(file: FileReader): number {
  const bytes = file.read(0, 8, 'header length')
  const length = new DataView(bytes.buffer).getBigUint64(0, true)
  if (length > MAX_HEADER_BYTES) {
    throw new ModelError(
      'header_too_large',
      `${file.path}: the header has ${length} bytes, at most ${MAX_HEADER_BYTES}`,
      'header length',
    )
  }
  file.check(8, Number(length), 'header')
  return Number(length)
}

function readHeader(file: FileReader, length: number): Record<string, unknown> {
  const bytes = file.read(8, length, 'header')
  if (bytes[0] !== 0x7b) throw malformed(file, 'header', "does not begin with '{'")
  let text: string
  let header: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    header = JSON.parse(text)
  } catch (cause) {
    throw malformed(file, 'header', 'is not UTF-8 JSON', cause)
  }
  if (!isRecord(header)) throw malformed(file, 'header', 'is not an object')
  const repeated = findDuplicateKey(text)
  if (repeated !== null) {
    throw new ModelError('duplicate_key', `${file.path}: "${repeated}" stands twice in the header`, repeated)
  }
  checkMetadata(file, header['__metadata__'])
  return header
}

function checkMetadata(file: FileReader, metadata: unknown): void {
  if (metadata === undefined) return
  const sound = isRecord(metadata) && Object.values(metadata).every((value) => typeof value === 'string')
  if (!sound) throw malformed(file, '__metadata__', 'is not a map of strings')
}

function readTensor(file: FileReader, name: string, entry: unknown, dataStart: number): TensorView {
  if (!isRecord(entry)) throw malformed(file, name, 'is not an object')
  const { dtype, shape, data_offsets: offsets } = entry
  const type = typeof dtype === 'string' && Object.hasOwn(DTYPES, dtype) ? DTYPES[dtype] : undefined
  if (type === undefined) throw malformed(file, name, `has the unknown dtype ${JSON.stringify(dtype)}`)
  if (!isCounts(shape)) throw shapeError(file, name, 'its shape is not a list of whole numbers')
  if (shape.length > MAX_DIMENSIONS) throw shapeError(file, name, `it has ${shape.length} dimensions, at most 8`)
  if (!isCounts(offsets) || offsets.length !== 2) throw malformed(file, name, 'has no pair of data_offsets')
  const [begin, end] = offsets as [number, number]
  if (begin > end) throw malformed(file, name, `ends at ${end}, before it begins at ${begin}`)
  const byteLength = spanOf(file, name, shape, type.bytes)
  if (byteLength !== end - begin) {
    throw shapeError(
      file,
      name,
      `shape [${shape}] of ${String(dtype)} is ${byteLength} bytes, its span has ${end - begin}`,
    )
  }
  file.check(dataStart + begin, byteLength, name)
  return {
    name,
    shape,
    dtype: String(dtype),
    format: type.format,
    file,
    offset: dataStart + begin,
    byteLength,
    permutedHeads: 0,
  }
}

function spanOf(file: FileReader, name: string, shape: readonly number[], elementBytes: number): number {
  let bytes = elementBytes
  for (const dimension of shape) {
    bytes *= dimension
    if (!Number.isSafeInteger(bytes)) throw shapeError(file, name, `the shape [${shape}] is impossible`)
  }
  return bytes
}

/** The spans, sorted, must cover the data without hole or overlap, to the last byte of the file. */
function checkCoverage(file: FileReader, dataStart: number, tensors: TensorView[]): void {
  let expected = dataStart
  for (const tensor of [...tensors].sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength)) {
    if (tensor.offset !== expected) {
      throw new ModelError(
        'tensor_overlap',
        `${file.path}: ${tensor.name} begins at byte ${tensor.offset}, expected ${expected}`,
        tensor.name,
      )
    }
    expected += tensor.byteLength
  }
  if (expected !== file.size) {
    throw new ModelError(
      'tensor_range',
      `${file.path}: the tensors end at byte ${expected}, the file at ${file.size}`,
      'data',
    )
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0)
}

function malformed(file: FileReader, field: string, what: string, cause?: unknown): ModelError {
  return new ModelError('header_malformed', `${file.path}: ${field} ${what}`, field, '', { cause })
}

function shapeError(file: FileReader, name: string, what: string): ModelError {
  return new ModelError('tensor_shape', `${file.path}: ${name}: ${what}`, name)
}
