import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { ModelError } from './errors.js'

/** A file read by ranges; nothing is allocated for a range that the file does not hold. */
export class FileReader {
  readonly size: number
  readonly #descriptor: number

  /** Throws ModelError file_unreadable when the file cannot be opened. */
  constructor(readonly path: string) {
    try {
      this.#descriptor = openSync(path, 'r')
    } catch (cause) {
      throw new ModelError('file_unreadable', `${path}: ${(cause as Error).message}`, null, '', { cause })
    }
    this.size = fstatSync(this.#descriptor).size
  }

  /** Throws ModelError file_truncated when the range leaves the file. `field` names what was being read. */
  read(offset: number, length: number, field: string): Uint8Array {
    this.check(offset, length, field)
    const bytes = new Uint8Array(length)
    this.#fill(bytes, offset, field)
    return bytes
  }

  readInto(target: Uint8Array, offset: number, field: string): void {
    this.check(offset, target.length, field)
    this.#fill(target, offset, field)
  }

  check(offset: number, length: number, field: string): void {
    if (offset >= 0 && length >= 0 && offset + length <= this.size) return
    throw new ModelError(
      'file_truncated',
      `${this.path}: ${field} needs bytes ${offset} to ${offset + length}, the file has ${this.size}`,
      field,
      'fetch the file again: it is incomplete or damaged',
    )
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  /** One read call moves at most 2 GiB. */
  #fill(target: Uint8Array, offset: number, field: string): void {
    let done = 0
    while (done < target.length) {
      const count = readSync(this.#descriptor, target, done, Math.min(target.length - done, 2 ** 30), offset + done)
      if (count === 0) this.check(this.size, 1, field)
      done += count
    }
  }
}

const WINDOW_BYTES = 1 << 20

/** Little-endian values one after the other, through a window of 1 MiB. */
export class Cursor {
  #window: DataView = new DataView(new ArrayBuffer(0))
  #windowStart = 0

  constructor(
    readonly file: FileReader,
    public offset = 0,
  ) {}

  get remaining(): number {
    return this.file.size - this.offset
  }

  u8(field: string): number {
    return this.#take(1, field).getUint8(this.#at(1))
  }
  i8(field: string): number {
    return this.#take(1, field).getInt8(this.#at(1))
  }
  u16(field: string): number {
    return this.#take(2, field).getUint16(this.#at(2), true)
  }
  i16(field: string): number {
    return this.#take(2, field).getInt16(this.#at(2), true)
  }
  u32(field: string): number {
    return this.#take(4, field).getUint32(this.#at(4), true)
  }
  i32(field: string): number {
    return this.#take(4, field).getInt32(this.#at(4), true)
  }
  f32(field: string): number {
    return this.#take(4, field).getFloat32(this.#at(4), true)
  }
  f64(field: string): number {
    return this.#take(8, field).getFloat64(this.#at(8), true)
  }
  /** Throws header_too_large beyond 2^53 - 1. */
  u64(field: string): number {
    return this.#exact(this.#take(8, field).getBigUint64(this.#at(8), true), field)
  }
  i64(field: string): number {
    return this.#exact(this.#take(8, field).getBigInt64(this.#at(8), true), field)
  }
  bytes(length: number, field: string): Uint8Array {
    const view = this.#take(length, field)
    const at = this.#at(length)
    return new Uint8Array(view.buffer, view.byteOffset + at, length).slice()
  }

  /** Makes the window hold the next `length` bytes and moves past them. */
  #take(length: number, field: string): DataView {
    this.file.check(this.offset, length, field)
    const inside =
      this.offset >= this.#windowStart && this.offset + length <= this.#windowStart + this.#window.byteLength
    if (!inside) {
      const bytes = this.file.read(this.offset, Math.min(Math.max(length, WINDOW_BYTES), this.remaining), field)
      this.#window = new DataView(bytes.buffer)
      this.#windowStart = this.offset
    }
    this.offset += length
    return this.#window
  }

  #at(length: number): number {
    return this.offset - length - this.#windowStart
  }

  #exact(value: bigint, field: string): number {
    const number = Number(value)
    if (Number.isSafeInteger(number)) return number
    throw new ModelError('header_too_large', `${this.file.path}: ${field} is ${value}`, field, 'the header is damaged')
  }
}
