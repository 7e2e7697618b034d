import { expect, it } from 'vitest'
import { monotonicNs, originOf } from '../../engines/clock.js'

it('reads the clock that the client reads', () => {
  const errorsNs = Array.from({ length: 100 }, () => {
    const beforeNs = Number(process.hrtime.bigint())
    const readNs = monotonicNs()
    const afterNs = Number(process.hrtime.bigint())
    return Math.max(beforeNs - readNs, readNs - afterNs)
  })
  expect(Math.min(...errorsNs)).toBeLessThan(20_000)
})

it('is not put off by slow readings, such as the first of a thread', () => {
  let trueNs = 5e12
  let readings = 0
  const take = (ns: number) => {
    trueNs += readings++ < 6 ? 1e6 : ns
    return trueNs
  }
  const origin = originOf(
    () => take(100),
    () => (take(100) - 4e12) / 1e6,
  )
  expect(Math.abs(origin - 4e12)).toBeLessThan(100)
})
