import { ModelError } from './errors.js'
import { Cursor, type FileReader } from './file-reader.js'
import { BLOCK_FORMATS, type BlockFormat, GGML_TYPES } from './quantisation.js'

export type GgufValue = number | boolean | string | number[] | boolean[] | string[]

export interface GgufTensor {
  name: string
  /** Row-major, outermost first: [N, K] (the file lists them the other way round). */
  shape: readonly number[]
  format: BlockFormat
  /** Absolute, in the file. */
  offset: number
  byteLength: number
}

export interface GgufHeader {
  version: number
  metadata: Map<string, GgufValue>
  tensors: Map<string, GgufTensor>
}

/** Bounds far above any real model, so that a lying header fails before it costs memory. */
const BOUNDS = {
  tensors: 65_536,
  keys: 65_536,
  nameBytes: 1_024,
  stringBytes: 16 * 2 ** 20,
  arrayLength: 4 * 2 ** 20,
  dimensions: 4,
  elements: 2 ** 40,
} as const

/** The bytes that a metadata value of each type takes at least; index = type number of the GGUF specification. */
const VALUE_BYTES = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8] as const
const TYPE_STRING = 8
const TYPE_ARRAY = 9

/**
 * Reads the header of a GGUF file, version 2 or 3, little-endian (github.com/ggml-org/ggml, docs/gguf.md).
 * Every count, length and dimension is compared with the remaining bytes before anything is allocated for it.
 * Throws ModelError: file_truncated, header_malformed, header_too_large, duplicate_key, tensor_*, unsupported_dtype.
 */
export function readGgufHeader(file: FileReader): GgufHeader {
  const cursor = new Cursor(file)
  const version = readMagic(cursor)
  const tensorCount = readCount(cursor, 'tensor_count', BOUNDS.tensors, 24)
  const keyCount = readCount(cursor, 'metadata_kv_count', BOUNDS.keys, 13)
  const metadata = readMetadata(cursor, keyCount)
  const tensors = readTensors(cursor, tensorCount)
  placeTensors(file, cursor.offset, alignmentOf(file, metadata), tensors)
  return { version, metadata, tensors: byName(file, tensors) }
}

function readMagic(cursor: Cursor): number {
  const magic = cursor.u32('magic')
  if (magic !== 0x46554747) throw malformed(cursor.file, 'magic', 'the first bytes are not "GGUF"')
  const version = cursor.u32('version')
  if (version === 2 || version === 3) return version
  const swapped = (version & 0xffff) === 0 && version !== 0
  throw malformed(
    cursor.file,
    'version',
    swapped ? 'the file is big-endian' : `version ${version}; versions 2 and 3 are read`,
  )
}

/** A u64 count whose items take at least `itemBytes` each. */
function readCount(cursor: Cursor, field: string, bound: number, itemBytes: number): number {
  const count = cursor.u64(field)
  if (count > bound) {
    throw new ModelError('header_too_large', `${cursor.file.path}: ${field} is ${count}, at most ${bound}`, field)
  }
  cursor.file.check(cursor.offset, count * itemBytes, field)
  return count
}

function readMetadata(cursor: Cursor, count: number): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>()
  for (let i = 0; i < count; i++) {
    const key = readName(cursor, `metadata key ${i}`)
    if (metadata.has(key)) throw duplicate(cursor.file, key)
    metadata.set(key, readValue(cursor, key))
  }
  return metadata
}

function readValue(cursor: Cursor, key: string): GgufValue {
  const type = cursor.u32(`type of ${key}`)
  if (type !== TYPE_ARRAY) return readScalar(cursor, type, key)
  const elementType = cursor.u32(`element type of ${key}`)
  if (elementType === TYPE_ARRAY) throw malformed(cursor.file, key, 'arrays of arrays are not read')
  const elementBytes = VALUE_BYTES[elementType]
  if (elementBytes === undefined) throw malformed(cursor.file, key, `element type ${elementType} does not exist`)
  const length = readCount(cursor, `length of ${key}`, BOUNDS.arrayLength, elementBytes)
  const values: (number | boolean | string)[] = []
  for (let i = 0; i < length; i++) values.push(readScalar(cursor, elementType, key))
  return values as number[] | boolean[] | string[]
}

function readScalar(cursor: Cursor, type: number, key: string): number | boolean | string {
  switch (type) {
    case 0:
      return cursor.u8(key)
    case 1:
      return cursor.i8(key)
    case 2:
      return cursor.u16(key)
    case 3:
      return cursor.i16(key)
    case 4:
      return cursor.u32(key)
    case 5:
      return cursor.i32(key)
    case 6:
      return cursor.f32(key)
    case 7:
      return readBoolean(cursor, key)
    case TYPE_STRING:
      return readString(cursor, key, BOUNDS.stringBytes, false)
    case 10:
      return cursor.u64(key)
    case 11:
      return cursor.i64(key)
    case 12:
      return cursor.f64(key)
    default:
      throw malformed(cursor.file, key, `value type ${type} does not exist`)
  }
}

function readBoolean(cursor: Cursor, key: string): boolean {
  const value = cursor.u8(key)
  if (value > 1) throw malformed(cursor.file, key, `a boolean is ${value}`)
  return value === 1
}

function readName(cursor: Cursor, field: string): string {
  const name = readString(cursor, field, BOUNDS.nameBytes, true)
  if (name === '') throw malformed(cursor.file, field, 'the name is empty')
  return name
}

function readString(cursor: Cursor, field: string, bound: number, strict: boolean): string {
  const length = cursor.u64(`length of ${field}`)
  if (length > bound) {
    throw new ModelError(
      'header_too_large',
      `${cursor.file.path}: ${field} has ${length} bytes, at most ${bound}`,
      field,
    )
  }
  const bytes = cursor.bytes(length, field)
  try {
    return new TextDecoder('utf-8', { fatal: strict, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new ModelError('header_malformed', `${cursor.file.path}: ${field} is not UTF-8`, field, '', { cause })
  }
}

function readTensors(cursor: Cursor, count: number): GgufTensor[] {
  const tensors: GgufTensor[] = []
  for (let i = 0; i < count; i++) {
    const name = readName(cursor, `tensor name ${i}`)
    const shape = readShape(cursor, name)
    const format = readFormat(cursor, name)
    const byteLength = tensorBytes(cursor.file, name, shape, format)
    tensors.push({ name, shape, format, offset: cursor.u64(`offset of ${name}`), byteLength })
  }
  return tensors
}

function readShape(cursor: Cursor, name: string): number[] {
  const dimensions = cursor.u32(`dimensions of ${name}`)
  if (dimensions < 1 || dimensions > BOUNDS.dimensions) {
    throw new ModelError(
      'tensor_shape',
      `${cursor.file.path}: ${name} has ${dimensions} dimensions, 1 to 4 are read`,
      name,
    )
  }
  const shape: number[] = []
  for (let i = 0; i < dimensions; i++) shape.unshift(cursor.u64(`dimension ${i} of ${name}`))
  return shape
}

function readFormat(cursor: Cursor, name: string): BlockFormat {
  const type = cursor.u32(`type of ${name}`)
  const format = BLOCK_FORMATS[type]
  if (format !== undefined) return format
  throw new ModelError(
    'unsupported_dtype',
    `${cursor.file.path}: ${name} is stored as ${GGML_TYPES[type] ?? `type ${type}`}`,
    name,
    `take a file in ${Object.values(BLOCK_FORMATS)
      .map((known) => known.name)
      .join(', ')}`,
  )
}

function tensorBytes(file: FileReader, name: string, shape: number[], format: BlockFormat): number {
  let elements = 1
  for (const dimension of shape) {
    if (dimension < 1 || dimension > BOUNDS.elements) elements = Number.POSITIVE_INFINITY
    else elements *= dimension
    if (elements > BOUNDS.elements) {
      throw new ModelError('tensor_shape', `${file.path}: ${name} has the impossible shape [${shape}]`, name)
    }
  }
  const columns = shape[shape.length - 1]!
  if (columns % format.blockElements !== 0) {
    throw new ModelError(
      'tensor_shape',
      `${file.path}: ${name} has rows of ${columns}, ${format.name} stores blocks of ${format.blockElements}`,
      name,
    )
  }
  return (elements / format.blockElements) * format.blockBytes
}

function alignmentOf(file: FileReader, metadata: Map<string, GgufValue>): number {
  const alignment = metadata.get('general.alignment') ?? 32
  const sound = typeof alignment === 'number' && alignment >= 8 && alignment <= 65_536 && alignment % 8 === 0
  if (!sound || (alignment & (alignment - 1)) !== 0) {
    throw malformed(file, 'general.alignment', `the alignment is ${String(alignment)}`)
  }
  return alignment
}

/** Turns offsets into absolute ones; none may leave the file, be unaligned or overlap another. */
function placeTensors(file: FileReader, headerEnd: number, alignment: number, tensors: GgufTensor[]): void {
  const dataStart = Math.ceil(headerEnd / alignment) * alignment
  for (const tensor of tensors) {
    if (tensor.offset % alignment !== 0) {
      throw new ModelError(
        'tensor_range',
        `${file.path}: ${tensor.name} starts at unaligned byte ${tensor.offset}`,
        tensor.name,
      )
    }
    tensor.offset += dataStart
    file.check(tensor.offset, tensor.byteLength, tensor.name)
  }
  const sorted = [...tensors].sort((a, b) => a.offset - b.offset)
  for (let i = 1; i < sorted.length; i++) {
    const before = sorted[i - 1]!
    const tensor = sorted[i]!
    if (before.offset + before.byteLength > tensor.offset) {
      throw new ModelError('tensor_overlap', `${file.path}: ${before.name} and ${tensor.name} overlap`, tensor.name)
    }
  }
}

function byName(file: FileReader, tensors: GgufTensor[]): Map<string, GgufTensor> {
  const map = new Map<string, GgufTensor>()
  for (const tensor of tensors) {
    if (map.has(tensor.name)) throw duplicate(file, tensor.name)
    map.set(tensor.name, tensor)
  }
  return map
}

function malformed(file: FileReader, field: string, what: string): ModelError {
  return new ModelError('header_malformed', `${file.path}: ${field}: ${what}`, field)
}

function duplicate(file: FileReader, name: string): ModelError {
  return new ModelError('duplicate_key', `${file.path}: ${name} stands twice in the header`, name)
}
