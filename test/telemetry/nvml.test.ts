import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Gpm } from '../../src/telemetry/gpm.js'
import { Nvml, NvmlUnavailable } from '../../src/telemetry/nvml.js'
import { hostCpuSecs, processCpuSecs, processRssBytes } from '../../src/telemetry/process.js'

let folder: string
let library: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fake-nvml-'))
  library = join(folder, 'libnvidia-ml.so.1')
  execFileSync('cc', ['-shared', '-fPIC', '-o', library, new URL('fake-nvml.c', import.meta.url).pathname])
})
afterAll(() => rmSync(folder, { recursive: true }))

function withFault<T>(fault: string, body: () => T): T {
  // koffi shares the process environment with the C library's getenv only through libc: set it there.
  process.env['FAKE_NVML'] = fault
  try {
    return body()
  } finally {
    delete process.env['FAKE_NVML']
  }
}

describe('NVML', () => {
  it('reads every field in its unit', () => {
    const nvml = Nvml.open(library)
    const absent: Record<string, string> = {}
    const device = nvml.find({ pciBusId: '0000:0a:00.0' })
    const first = nvml.read(device, absent)
    expect(first).toMatchObject({
      gpuUtilizationPercent: 97,
      memoryUtilizationPercent: 61,
      powerWatts: 512.345,
      smClockMhz: 1980,
      memoryClockMhz: 2619,
      temperatureCelsius: 41,
      memoryUsedBytes: 1234567890,
      throttleReasons: 4,
    })
    expect(nvml.read(device, absent).energyMillijoules! - first.energyMillijoules!).toBe(50000)
    expect(absent).toEqual({})
    expect(nvml.identity(device)).toEqual({
      name: 'Fake H100',
      uuid: 'GPU-1234',
      pciBusId: '00000000:0A:00.0',
      driver: '580.0-fake',
      nvml: '13.580-fake',
      memoryTotalBytes: 85520809984,
      powerLimitWatts: 700,
      maxSmClockMhz: 1980,
    })
    expect(nvml.computeProcesses(device, absent)).toEqual([4242, 4343])
  })

  it('gives a stated reason, never zero, for a field the card lacks', () => {
    withFault('noenergy', () => {
      const nvml = Nvml.open(library)
      const absent: Record<string, string> = {}
      expect(nvml.read(nvml.find(), absent).energyMillijoules).toBeNull()
      expect(absent).toEqual({ energyMillijoules: 'NOT_SUPPORTED' })
    })
  })

  it('falls back to the averaged power where the instantaneous field is missing', () => {
    withFault('nopower', () => {
      const nvml = Nvml.open(library)
      expect(nvml.read(nvml.find(), {}).powerWatts).toBe(400)
    })
  })

  it('names an absent library, a driver that is not loaded and a card that is not there', () => {
    expect(() => Nvml.open(join(folder, 'nothing.so'))).toThrow(/cannot be loaded/)
    withFault('init9', () => expect(() => Nvml.open(library)).toThrow(/DRIVER_NOT_LOADED/))
    withFault('nodevice', () => expect(() => Nvml.open(library).find()).toThrow(NvmlUnavailable))
    expect(() => Nvml.open(library).find({ uuid: 'GPU-9999' })).toThrow(/GPU-9999/)
  })

  it('reads GPM between two samples, each metric with its own status', () => {
    const nvml = Nvml.open(library)
    const absent: Record<string, string> = {}
    const gpm = Gpm.open(nvml, nvml.find(), absent)!
    expect(gpm.read(absent)).toBeNull()
    expect(gpm.read(absent)).toEqual({
      gpmSmPercent: 20,
      gpmOccupancyPercent: 30,
      gpmTensorPercent: null,
      gpmDramPercent: 100,
    })
    expect(absent).toEqual({ gpmTensorPercent: 'NOT_SUPPORTED' })
  })

  it('says why there is no GPM', () => {
    withFault('nogpm', () => {
      const nvml = Nvml.open(library)
      const absent: Record<string, string> = {}
      expect(Gpm.open(nvml, nvml.find(), absent)).toBeNull()
      expect(absent['gpmDramPercent']).toMatch(/not supported/)
    })
  })
})

describe('process readings', () => {
  it('grow with work and vanish with the process', () => {
    const before = processCpuSecs(process.pid)!
    const endMs = performance.now() + 60
    while (performance.now() < endMs) Math.sqrt(endMs)
    expect(processCpuSecs(process.pid)!).toBeGreaterThan(before)
    expect(processRssBytes(process.pid)!).toBeGreaterThan(10e6)
    expect(processCpuSecs(2 ** 30)).toBeNull()
    const host = hostCpuSecs()!
    expect(host.busy).toBeLessThan(host.total)
  })
})
