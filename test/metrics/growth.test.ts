import { describe, expect, it } from 'vitest'
import { GrowthWatch } from '../../src/metrics/growth.js'
import { RandomStream } from '../../src/scenario/random.js'

/** Requests in flight of a server with `stay` seconds a request, fed four times a second; the second at which it says stop. */
function watch(
  inFlight: (secs: number) => number,
  staySecs: number,
  endSecs = 120,
): { atSecs: number; why: string } | null {
  const growth = new GrowthWatch()
  for (let request = 0; request < 12; request++) growth.addStay(staySecs)
  for (let atSecs = 0; atSecs < endSecs; atSecs += 0.25) {
    const why = growth.add(atSecs, inFlight(atSecs))
    if (why !== null) return { atSecs, why }
  }
  return null
}
const noise = () => {
  const random = new RandomStream(5)
  return (mean: number) => Math.max(0, Math.round(mean + Math.sqrt(mean) * random.normal()))
}

describe('the watch over requests in flight', () => {
  it('stops a load that piles up, and says from what to what', () => {
    const noisy = noise()
    const stop = watch((secs) => noisy(4 + 5 * secs), 0.5)
    expect(stop!.atSecs).toBeGreaterThan(10)
    expect(stop!.atSecs).toBeLessThan(30)
    expect(stop!.why).toMatch(/grew from \d+ to \d+ over \d+ s/)
  })
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('leaves a steady load alone, however noisy (seed %i)', (seed) => {
    const random = new RandomStream(seed)
    expect(watch(() => Math.max(0, Math.round(16 + 4 * random.normal())), 1, 600)).toBeNull()
  })
  it('does not take the filling of a server for growth: long answers come in for one stay', () => {
    const noisy = noise()
    expect(watch((secs) => noisy(4 * Math.min(secs, 20)), 20, 300)).toBeNull()
  })
  it('does not stop for a handful of requests', () => {
    expect(watch((secs) => 1 + secs / 60, 0.5)).toBeNull()
  })
  it('waits until it knows how long a request stays', () => {
    const growth = new GrowthWatch()
    for (let secs = 0; secs < 60; secs++) expect(growth.add(secs, 10 * secs)).toBeNull()
  })
})
