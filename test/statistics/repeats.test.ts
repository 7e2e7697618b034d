import { describe, expect, it } from 'vitest'
import { decideRepeats } from '../../src/statistics/repeats.js'

const rule = { min: 3, max: 6, untilCi95: 0.02 }
const decide = (done: number, ...targets: number[][]) =>
  decideRepeats(
    rule,
    done,
    'output tok/s',
    targets.map((values, index) => ({ target: `t${index}`, values })),
  )

describe('repeats until the interval is narrow', () => {
  it('goes on below min, even when it is narrow already', () => {
    expect(decide(2, [100, 100.1])).toMatchObject({ stop: false, why: expect.stringMatching(/at least 3/) })
  })
  it('stops at min when every target is narrow enough, and says how narrow', () => {
    const { stop, why } = decide(3, [100, 100.2, 99.9], [50, 50.1, 50])
    expect(stop).toBe(true)
    expect(why).toMatch(/±0\.\d % \(t0\), ±0\.\d % \(t1\); asked ±2\.0 %: narrow enough/)
  })
  it('goes on while one target is wide', () => {
    expect(decide(3, [100, 100.2, 99.9], [50, 60, 45])).toMatchObject({ stop: false })
    expect(decide(5, [100, 100.2, 99.9], [50, 60, 45])).toMatchObject({ stop: false })
  })
  it('stops at max and says that the width was not reached', () => {
    expect(decide(6, [100, 130, 80, 120, 90, 110])).toMatchObject({
      stop: true,
      why: expect.stringMatching(/not reached, and 6 repeats are the most/),
    })
  })
  it('takes the half width of the 95 % t interval: 4.303 s/sqrt(3) of three values', () => {
    // Mean 100, s = 1: half width 2.484; the limit stands on either side of it.
    const values = { target: 't', values: [99, 100, 101] }
    expect(decideRepeats({ ...rule, untilCi95: 0.0249 }, 3, 'm', [values]).stop).toBe(true)
    expect(decideRepeats({ ...rule, untilCi95: 0.0248 }, 3, 'm', [values]).stop).toBe(false)
  })
  it('has no interval of failed blocks, and goes on', () => {
    expect(decide(4, [100, 100, 100], [50])).toMatchObject({
      stop: false,
      why: expect.stringMatching(/no interval yet/),
    })
    expect(decide(4)).toMatchObject({ stop: false })
  })
})
