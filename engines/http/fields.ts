import { ApiError, quote } from './api-error.js'

/** A request body as parsed JSON. Fields are read by name; null counts as absent, as in OpenAI's API. */
export type Body = Readonly<Record<string, unknown>>

/** Reads an integer in min..max; `fallback` when absent. Throws ApiError invalid_type or invalid_value. */
export function integerField<T>(body: Body, name: string, min: number, max: number, fallback: T): number | T {
  const value = body[name]
  if (value === undefined || value === null) return fallback
  if (typeof value !== 'number') throw wrongType(name, 'an integer', value)
  if (!Number.isInteger(value)) throw wrongValue(name, 'an integer', value)
  if (value < min || value > max) throw wrongValue(name, `an integer from ${min} to ${max}`, value)
  return value
}

/** Reads a finite number in min..max; `fallback` when absent. */
export function numberField(body: Body, name: string, min: number, max: number, fallback: number): number {
  const value = body[name]
  if (value === undefined || value === null) return fallback
  if (typeof value !== 'number') throw wrongType(name, 'a number', value)
  if (!(value >= min && value <= max)) throw wrongValue(name, `a number from ${min} to ${max}`, value)
  return value
}

export function booleanField(body: Body, name: string, fallback: boolean): boolean {
  const value = body[name]
  if (value === undefined || value === null) return fallback
  if (typeof value !== 'boolean') throw wrongType(name, 'a boolean', value)
  return value
}

export function stringField(body: Body, name: string): string | null {
  const value = body[name]
  if (value === undefined || value === null) return null
  if (typeof value !== 'string') throw wrongType(name, 'a string', value)
  return value
}

export function objectField(body: Body, name: string): Body | null {
  const value = body[name]
  if (value === undefined || value === null) return null
  if (!isObject(value)) throw wrongType(name, 'an object', value)
  return value
}

/** A list of token ids, each inside the vocabulary. `name` is the path given in errors. */
export function tokenIdList(value: readonly unknown[], name: string, vocabSize: number): number[] {
  for (let i = 0; i < value.length; i++) {
    const id = value[i]
    if (typeof id !== 'number') throw wrongType(`${name}[${i}]`, 'a token id', id)
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
      throw wrongValue(`${name}[${i}]`, `a token id from 0 to ${vocabSize - 1}`, id)
    }
  }
  return value as number[]
}

export function isObject(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function wrongType(name: string, expected: string, value: unknown): ApiError {
  return new ApiError('invalid_type', `${name} must be ${expected}; got ${quote(value)}.`, name)
}

export function wrongValue(name: string, expected: string, value: unknown): ApiError {
  return new ApiError('invalid_value', `${name} must be ${expected}; got ${quote(value)}.`, name)
}
