import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ApiError } from '../../engines/http/api-error.js'
import { parseJson } from '../../engines/http/json.js'

const parse = (text: string) => parseJson(Buffer.from(text))

describe('parseJson', () => {
  it('gives what JSON.parse gives, for every object', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 5 })), (object) => {
        const text = JSON.stringify(object)
        expect(parse(text).value).toEqual(JSON.parse(text))
      }),
    )
  })

  it('keeps every digit of a top-level integer seed', () => {
    expect(parse('{"a":{"seed":1},"seed" : -9223372036854775807 }').seedDigits).toBe('-9223372036854775807')
    expect(parse('{"seed":12345678901234567890}').seedDigits).toBe('12345678901234567890')
    for (const text of ['{"a":{"seed":1}}', '{"seed":1.5}', '{"seed":"1"}', '{"a":"seed"}']) {
      expect(parse(text).seedDigits).toBeNull()
    }
  })

  it.each([
    ['a duplicate key', '{"a":1,"a":2}'],
    ['a duplicate key inside', '{"x":[{"a":1,"a":2}]}'],
    ['a duplicate key spelled with an escape', '{"a":1,"\\u0061":2}'],
    ['a lone surrogate', '{"a":"\\udc00"}'],
    ['a lone surrogate in a key', '{"\\ud800":1}'],
    ['65 levels', `{"a":${'['.repeat(64)}${']'.repeat(64)}}`],
    ['a list', '[1]'],
    ['nothing', ''],
  ])('refuses %s', (_, text) => {
    expect(() => parse(text)).toThrow(ApiError)
  })

  it('takes keys of one name in different objects, quotes and brackets in strings, and a __proto__ key as data', () => {
    const { value } = parse('{"a":{"k":1},"b":{"k":2},"c":["\\"]},{",{"k":3}],"__proto__":{"polluted":true}}')
    expect(value['c']).toEqual(['"]},{', { k: 3 }])
    expect('polluted' in {}).toBe(false)
    expect('polluted' in value).toBe(false)
  })
})
