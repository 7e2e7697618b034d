import { describe, expect, it } from 'vitest'
import { checkRoom } from '../../engines/device.js'
import { PRESETS } from '../../engines/model/presets.js'
import type { Kernels } from '../../kernels/binding.js'

const card = (totalBytes: number, freeBytes: number) =>
  ({
    info: { backend: 'cuda', name: 'a card', weightBytes: 2 },
    memory: () => ({ totalBytes, freeBytes, peakBytes: 0 }),
  }) as unknown as Kernels

describe('room for the weights', () => {
  const model = { id: 'llama-3-8b', config: PRESETS['llama-3-8b'] }

  it('is enough on a large card', () => {
    expect(() => checkRoom(card(80e9, 79e9), model, 0.9)).not.toThrow()
  })
  it('is short on a small card: the sizes are named, and what would fit', () => {
    expect(() => checkRoom(card(12e9, 11.5e9), model, 0.9)).toThrow(
      /16\.1 GB of weights; a card has 10\.3 GB.*fit: tiny.*llama-3\.2-1b$/,
    )
  })
  it('counts what other processes hold', () => {
    expect(() => checkRoom(card(80e9, 20e9), model, 0.9)).toThrow('20.0 GB of 80.0 GB free')
  })
})
