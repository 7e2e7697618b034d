/**
 * The storage formats of GGUF tensors that are read, and their dequantisation to f32. A row is a sequence of blocks; a block holds
 * `blockElements` values in `blockBytes` bytes. Layouts: github.com/ggml-org/ggml, src/ggml-common.h (block_q4_0 ...).
 */
export interface BlockFormat {
  name: string
  blockElements: number
  blockBytes: number
  /** The safetensors-like type when no dequantisation is needed. */
  plain: 'f32' | 'f16' | 'bf16' | null
  /** Writes blockElements values of the block at byte `at` to out[to ..]. */
  dequantise: (bytes: DataView, at: number, out: Float32Array, to: number) => void
}

/** By the type number in the file. */
export const BLOCK_FORMATS: Readonly<Record<number, BlockFormat>> = {
  0: { name: 'F32', blockElements: 1, blockBytes: 4, plain: 'f32', dequantise: f32 },
  1: { name: 'F16', blockElements: 1, blockBytes: 2, plain: 'f16', dequantise: f16 },
  2: { name: 'Q4_0', blockElements: 32, blockBytes: 18, plain: null, dequantise: q4_0 },
  3: { name: 'Q4_1', blockElements: 32, blockBytes: 20, plain: null, dequantise: q4_1 },
  6: { name: 'Q5_0', blockElements: 32, blockBytes: 22, plain: null, dequantise: q5_0 },
  7: { name: 'Q5_1', blockElements: 32, blockBytes: 24, plain: null, dequantise: q5_1 },
  8: { name: 'Q8_0', blockElements: 32, blockBytes: 34, plain: null, dequantise: q8_0 },
  12: { name: 'Q4_K', blockElements: 256, blockBytes: 144, plain: null, dequantise: q4_k },
  13: { name: 'Q5_K', blockElements: 256, blockBytes: 176, plain: null, dequantise: q5_k },
  14: { name: 'Q6_K', blockElements: 256, blockBytes: 210, plain: null, dequantise: q6_k },
  30: { name: 'BF16', blockElements: 1, blockBytes: 2, plain: 'bf16', dequantise: bf16 },
}

/** Names for messages about formats that are not read. */
export const GGML_TYPES: Readonly<Record<number, string>> = {
  9: 'Q8_1',
  10: 'Q2_K',
  11: 'Q3_K',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  20: 'IQ4_NL',
  21: 'IQ3_S',
  22: 'IQ2_S',
  23: 'IQ4_XS',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  29: 'IQ1_M',
  34: 'TQ1_0',
  35: 'TQ2_0',
  39: 'MXFP4',
}

/** All blocks of `bytes`, in order, into out. */
export function dequantise(format: BlockFormat, bytes: Uint8Array, out: Float32Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const blocks = bytes.byteLength / format.blockBytes
  const { blockBytes, blockElements } = format
  for (let block = 0; block < blocks; block++) format.dequantise(view, block * blockBytes, out, block * blockElements)
}

/** IEEE binary16 from its bits, by a table of all 65,536. */
export function halfToFloat(bits: number): number {
  return HALF[bits]!
}

const HALF = Float32Array.from({ length: 65_536 }, (_, bits) => {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
})

function f32(bytes: DataView, at: number, out: Float32Array, to: number): void {
  out[to] = bytes.getFloat32(at, true)
}

function f16(bytes: DataView, at: number, out: Float32Array, to: number): void {
  out[to] = HALF[bytes.getUint16(at, true)]!
}

const BITS = new Uint32Array(1)
const BITS_AS_FLOAT = new Float32Array(BITS.buffer)

function bf16(bytes: DataView, at: number, out: Float32Array, to: number): void {
  BITS[0] = bytes.getUint16(at, true) << 16
  out[to] = BITS_AS_FLOAT[0]!
}

/** {f16 d; nibbles[16]}: element j low, j + 16 high nibble; x = (q - 8) d. */
function q4_0(bytes: DataView, at: number, out: Float32Array, to: number): void {
  const d = HALF[bytes.getUint16(at, true)]!
  for (let j = 0; j < 16; j++) {
    const q = bytes.getUint8(at + 2 + j)
    out[to + j] = ((q & 15) - 8) * d
    out[to + 16 + j] = ((q >> 4) - 8) * d
  }
}

/** {f16 d, m; nibbles[16]}: x = q d + m. */
function q4_1(bytes: DataView, at: number, out: Float32Array, to: number): void {
  const d = HALF[bytes.getUint16(at, true)]!
  const m = HALF[bytes.getUint16(at + 2, true)]!
  for (let j = 0; j < 16; j++) {
    const q = bytes.getUint8(at + 4 + j)
    out[to + j] = (q & 15) * d + m
    out[to + 16 + j] = (q >> 4) * d + m
  }
}

/** {f16 d; u32 fifth bits; nibbles[16]}: x = (q - 16) d. */
function q5_0(bytes: DataView, at: number, out: Float32Array, to: number): void {
  const d = HALF[bytes.getUint16(at, true)]!
  const high = bytes.getUint32(at + 2, true)
  for (let j = 0; j < 16; j++) {
    const q = bytes.getUint8(at + 6 + j)
    out[to + j] = (((q & 15) | (((high >>> j) & 1) << 4)) - 16) * d
    out[to + 16 + j] = (((q >> 4) | (((high >>> (j + 16)) & 1) << 4)) - 16) * d
  }
}

/** {f16 d, m; u32 fifth bits; nibbles[16]}: x = q d + m. */
function q5_1(bytes: DataView, at: number, out: Float32Array, to: number): void {
  const d = HALF[bytes.getUint16(at, true)]!
  const m = HALF[bytes.getUint16(at + 2, true)]!
  const high = bytes.getUint32(at + 4, true)
  for (let j = 0; j < 16; j++) {
    const q = bytes.getUint8(at + 8 + j)
    out[to + j] = ((q & 15) | (((high >>> j) & 1) << 4)) * d + m
    out[to + 16 + j] = ((q >> 4) | (((high >>> (j + 16)) & 1) << 4)) * d + m
  }
}

/** {f16 d; int8[32]}: x = q d. */
function q8_0(bytes: DataView, at: number, out: Float32Array, to: number): void {
  const d = HALF[bytes.getUint16(at, true)]!
  for (let j = 0; j < 32; j++) out[to + j] = bytes.getInt8(at + 2 + j) * d
}

/** The 6-bit scale of sub-block `index` (0..7) of Q4_K and Q5_K, packed with the minima in 12 bytes at `at`. */
function scaleOf(bytes: DataView, at: number, index: number): number {
  if (index < 4) return bytes.getUint8(at + index) & 63
  return (bytes.getUint8(at + index + 4) & 15) | ((bytes.getUint8(at + index - 4) >> 6) << 4)
}

function minimumOf(bytes: DataView, at: number, index: number): number {
  if (index < 4) return bytes.getUint8(at + index + 4) & 63
  return (bytes.getUint8(at + index + 4) >> 4) | ((bytes.getUint8(at + index) >> 6) << 4)
}

/** {f16 d, dmin; packed scales[12]; nibbles[128]}: 8 sub-blocks of 32; x = d scale q - dmin minimum. */
function q4_k(bytes: DataView, at: number, out: Float32Array, to: number): void {
  const d = HALF[bytes.getUint16(at, true)]!
  const dMin = HALF[bytes.getUint16(at + 2, true)]!
  for (let sub = 0; sub < 8; sub++) {
    const scale = Math.fround(d * scaleOf(bytes, at + 4, sub))
    const minimum = Math.fround(dMin * minimumOf(bytes, at + 4, sub))
    const source = at + 16 + (sub >> 1) * 32
    const shift = (sub & 1) * 4
    for (let j = 0; j < 32; j++) {
      out[to + sub * 32 + j] = scale * ((bytes.getUint8(source + j) >> shift) & 15) - minimum
    }
  }
}

/** {f16 d, dmin; packed scales[12]; fifth bits[32]; nibbles[128]}: bit `sub` of byte j is the fifth bit. */
function q5_k(bytes: DataView, at: number, out: Float32Array, to: number): void {
  const d = HALF[bytes.getUint16(at, true)]!
  const dMin = HALF[bytes.getUint16(at + 2, true)]!
  for (let sub = 0; sub < 8; sub++) {
    const scale = Math.fround(d * scaleOf(bytes, at + 4, sub))
    const minimum = Math.fround(dMin * minimumOf(bytes, at + 4, sub))
    const source = at + 48 + (sub >> 1) * 32
    const shift = (sub & 1) * 4
    for (let j = 0; j < 32; j++) {
      const high = ((bytes.getUint8(at + 16 + j) >> sub) & 1) << 4
      out[to + sub * 32 + j] = scale * (((bytes.getUint8(source + j) >> shift) & 15) | high) - minimum
    }
  }
}

/** {low nibbles[128]; high pairs[64]; int8 scales[16]; f16 d}: 16 sub-blocks of 16; x = d scale (q - 32). */
function q6_k(bytes: DataView, at: number, out: Float32Array, to: number): void {
  const d = HALF[bytes.getUint16(at + 208, true)]!
  for (let i = 0; i < 256; i++) {
    const half = i >> 7
    const quarter = (i >> 5) & 3
    const j = i & 31
    const low = bytes.getUint8(at + half * 64 + (quarter & 1) * 32 + j) >> ((quarter >> 1) * 4)
    const high = bytes.getUint8(at + 128 + half * 32 + j) >> (quarter * 2)
    const scale = bytes.getInt8(at + 192 + (i >> 4))
    out[to + i] = Math.fround(d * scale) * (((low & 15) | ((high & 3) << 4)) - 32)
  }
}
