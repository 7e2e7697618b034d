import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { StopMatcher } from '../../engines/http/stop-matcher.js'

/** What the definition says, character by character: the end of the first completed stop string, and its longest start. */
function reference(text: string, stops: readonly string[], include: boolean): { text: string; stopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const completed = stops.filter((stop) => text.slice(0, end).endsWith(stop)).map((stop) => stop.length)
    if (completed.length > 0)
      return { text: text.slice(0, include ? end : end - Math.max(...completed)), stopped: true }
  }
  return { text, stopped: false }
}

/** A small alphabet, so that stop strings and near misses are frequent. */
const letters = fc.constantFrom('a', 'b', 'é', '🙂')
const texts = fc.array(letters, { maxLength: 40 })
const stopLists = fc.array(fc.string({ unit: letters, minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 4 })

describe('StopMatcher', () => {
  it('gives the same text however the stream is cut, and holds back every part of a stop string', () => {
    fc.assert(
      fc.property(texts, stopLists, fc.boolean(), fc.infiniteStream(fc.nat(4)), (characters, stops, include, cuts) => {
        const expected = reference(characters.join(''), stops, include)
        const matcher = new StopMatcher(stops, include)
        let out = ''
        let at = 0
        for (const length of cuts) {
          if (at >= characters.length || matcher.matched !== null) break
          out += matcher.push(characters.slice(at, at + length).join(''))
          at += length
          // Nothing that went out may have to be taken back.
          expect(expected.text.startsWith(out)).toBe(true)
        }
        if (matcher.matched === null) out += matcher.flush()
        expect({ text: out, stopped: matcher.matched !== null }).toEqual(expected)
      }),
      { numRuns: 3000 },
    )
  })

  it('holds back no more than it must', () => {
    const matcher = new StopMatcher(['stop', 'end'], false)
    expect(matcher.push('go st')).toBe('go ')
    expect(matcher.push('e')).toBe('st')
    expect(matcher.push('n')).toBe('')
    expect(matcher.push('x')).toBe('enx')
  })

  it('lets a stop string pass while it is not armed, and finds the next', () => {
    const matcher = new StopMatcher(['ab'], false)
    expect(matcher.push('xab', false)).toBe('xab')
    expect(matcher.push('yab', true)).toBe('y')
    expect(matcher.matched).toBe('ab')
  })
})
