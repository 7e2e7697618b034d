import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A scratch directory and the way to be rid of it. */
export function scratchDirectory(): {
  path: string
  write: (name: string, bytes: Uint8Array | string) => string
  remove: () => void
} {
  const path = mkdtempSync(join(tmpdir(), 'model-test-'))
  return {
    path,
    write: (name, bytes) => {
      writeFileSync(join(path, name), bytes)
      return join(path, name)
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  }
}

/** A safetensors file: header (an object, or its text as it stands) and data. */
export function safetensorsFile(header: object | string, dataBytes: number, headerLength?: bigint): Uint8Array {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(headerLength ?? BigInt(text.length))
  return Buffer.concat([length, text, Buffer.alloc(dataBytes)])
}

/** A GGUF file, field by field; every number may lie. */
export class GgufWriter {
  readonly #parts: Buffer[] = []

  constructor(counts: { version?: number; tensors?: bigint; keys?: bigint; magic?: string } = {}) {
    this.#parts.push(Buffer.from(counts.magic ?? 'GGUF'))
    this.u32(counts.version ?? 3)
    this.u64(counts.tensors ?? 0n)
    this.u64(counts.keys ?? 0n)
  }

  u32(value: number): this {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(value)
    return this.raw(bytes)
  }
  u64(value: bigint): this {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(value)
    return this.raw(bytes)
  }
  raw(bytes: Uint8Array): this {
    this.#parts.push(Buffer.from(bytes))
    return this
  }
  string(text: string, length?: bigint): this {
    const bytes = Buffer.from(text)
    return this.u64(length ?? BigInt(bytes.length)).raw(bytes)
  }
  number(key: string, value: number): this {
    return this.string(key).u32(4).u32(value)
  }
  float(key: string, value: number): this {
    const bytes = Buffer.alloc(4)
    bytes.writeFloatLE(value)
    return this.string(key).u32(6).raw(bytes)
  }
  text(key: string, value: string): this {
    return this.string(key).u32(8).string(value)
  }
  tensor(name: string, dimensions: bigint[], type = 0, offset = 0n): this {
    this.string(name).u32(dimensions.length)
    for (const dimension of dimensions) this.u64(dimension)
    return this.u32(type).u64(offset)
  }
  /** Pads to the data section and adds `dataBytes` of it. */
  file(dataBytes = 0): Uint8Array {
    const header = Buffer.concat(this.#parts)
    return Buffer.concat([header, Buffer.alloc((32 - (header.length % 32)) % 32), Buffer.alloc(dataBytes)])
  }
}
