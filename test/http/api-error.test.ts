import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { API_ERRORS, ApiError, type ApiErrorCode, errorBody, quote, toApiError } from '../../engines/http/api-error.js'

describe('error bodies', () => {
  it('are at most 1 KiB and valid JSON, whatever the message', () => {
    const codes = fc.constantFrom(...(Object.keys(API_ERRORS) as ApiErrorCode[]))
    const long = fc.string({ unit: 'binary', maxLength: 3000 })
    fc.assert(
      fc.property(codes, long, fc.option(long), (code, message, param) => {
        const body = errorBody(new ApiError(code, message, param))
        expect(Buffer.byteLength(body)).toBeLessThanOrEqual(1024)
        expect(JSON.parse(body).error).toMatchObject({ code, type: API_ERRORS[code][1] })
      }),
    )
  })

  it('echo at most 200 characters of input', () => {
    expect(quote('x'.repeat(1000)).length).toBeLessThanOrEqual(202)
    expect(quote({ secret: 'x' })).toBe('an object')
    expect(quote([1, 2])).toBe('a list of 2')
  })

  it('tell nothing of a defect of ours', () => {
    const body = errorBody(toApiError(new TypeError('/home/me/secret.ts failed')))
    expect(body).not.toContain('secret')
    expect(JSON.parse(body).error.code).toBe('internal_error')
  })
})
