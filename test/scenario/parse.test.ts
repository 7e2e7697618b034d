import { describe, expect, it } from 'vitest'
import { Failure } from '../../src/failure.js'
import { loadScenario } from '../../src/scenario/load.js'
import { parseScenario } from '../../src/scenario/parse.js'
import { SLO_PRESETS } from '../../src/scenario/slo.js'

const base = 'workload: {input: 16, output: 8}\nload: {concurrency: 4, requests: 10}\n'
const failure = (text: string): Failure => {
  try {
    parseScenario(text, 'my.yaml')
  } catch (error) {
    if (error instanceof Failure) return error
    throw error
  }
  throw new Error('no failure')
}

describe('scenario YAML', () => {
  it('widens scalar shorthands', () => {
    const scenario = parseScenario(`${base}repeats: 3\nseeds: 5\nslo: chat\n`, 'my.yaml')
    expect(scenario.workload.shapes[0]!.input).toEqual({ dist: 'fixed', value: 16 })
    expect(scenario.repeats).toEqual({ min: 3, max: 3, untilCi95: null })
    expect(scenario.seeds).toEqual({ arrivals: 5, lengths: 6, content: 7 })
    expect(scenario.slo.terms).toEqual(SLO_PRESETS['chat']!.terms)
    expect(scenario.name).toBe('my')
  })

  it('reads the example of the reference', () => {
    const text = `
schema: bench/scenario@1
name: chat-1k
workload:
  kind: synthetic
  input:  {dist: lognormal, mean: 1024, cv: 0.5, min: 16, max: 4096}
  output: {dist: uniform, min: 820, max: 1024, enforce: ignore_eos}
  prefix: {groups: 8, tokens: 256, share: 0.7}
  conversation: {turns: 4, think_ms: {dist: exponential, mean: 800}}
  mix: []
load:
  - {phase: warmup, concurrency: 16, requests: 2x, measure: false}
  - {phase: steady, concurrency: 16, min_requests: 700, max: 120s}
slo: {ttft: "p99<2000ms", tpot: "p99<100ms", errors: "<0.1%"}
cache: cold
seeds: {arrivals: 1, lengths: 2, content: 3}
repeats: {min: 3, max: 9, until: "ci95<2%"}
sampling: {temperature: 0, seed: 7}
`
    const scenario = parseScenario(text, 'chat.yaml')
    expect(scenario.load).toEqual({
      arrival: { kind: 'closed', concurrency: 16, thinkMs: null, staggerMs: 8 },
      requests: 700,
      warmupRequests: 32,
      requestsPerUnit: null,
      warmupPerUnit: 2,
      staggerAskedMs: null,
      maxSecs: 120,
    })
    expect(scenario.slo).toMatchObject({ maxErrorShare: 0.001 })
    expect(scenario.repeats.untilCi95).toBeCloseTo(0.02)
  })

  it.each([
    ['top level', `${base}worklod: 1\n`, "my.yaml:3:1: unknown key 'worklod'; did you mean 'workload'?"],
    [
      'nested',
      'workload: {input: 16, ouput: 8}\nload: 4\n',
      "my.yaml:1:23: unknown key 'ouput' in workload; did you mean 'output'?",
    ],
    [
      'in a load entry',
      'workload: {input: 16, output: 8}\nload:\n  - concurency: 4\n',
      "my.yaml:3:5: unknown key 'concurency' in load.0; did you mean 'concurrency'?",
    ],
    [
      'in a distribution',
      'workload:\n  input: {dist: lognormal, mean: 9, sigma: 1}\n  output: 8\nload: 4\n',
      "my.yaml:2:37: unknown key 'sigma' in workload.input; known keys in workload.input: dist, value",
    ],
  ])('refuses an unknown key with its place and the nearest name: %s', (_, text, message) => {
    expect(failure(text).message).toContain(message)
    expect(failure(text)).toMatchObject({ code: 'unknown-key', exitCode: 2 })
  })

  it.each([
    ['a missing workload', 'load: 4\n', /my\.yaml:1:1: workload: /],
    ['bad YAML', 'workload: {input: 16\nload: 4', /my\.yaml:\d+:\d+: /],
    [
      'two kinds of load',
      `workload: {input: 1, output: 1}\nload: {concurrency: 4, rate: 2}\n`,
      /found concurrency and rate/,
    ],
    ['no end', `workload: {input: 1, output: 1}\nload: {rate: 2}\n`, /open loop needs requests: N or max: TIME/],
    [
      'a rate of words',
      `workload: {input: 1, output: 1}\nload: {rate: fast}\n`,
      /2:14: load\.0\.rate: "fast" is not a rate/,
    ],
    ['inverted bounds', 'workload: {input: {dist: uniform, min: 9, max: 3}, output: 1}\nload: 1\n', /min is above max/],
    ['an unknown SLO', `${base}slo: chatt\n`, /unknown SLO preset 'chatt'; did you mean 'chat'\?/],
    ['an unknown distribution', 'workload: {input: {dist: zipf}, output: 1}\nload: 1\n', /workload\.input/],
    ['prototype keys', `${base}__proto__: {a: 1}\n`, /key '__proto__' is not allowed/],
    ['another version', `schema: bench/scenario@2\n${base}`, /expected 'bench\/scenario@1'/],
    [
      'a warm-up with another load',
      `workload: {input: 1, output: 1}\nload: [{phase: warmup, concurrency: 2}, {concurrency: 4}]\n`,
      /without draining/,
    ],
  ])('refuses %s', (_, text, message) => {
    expect(failure(text).message).toMatch(message)
    expect(failure(text).exitCode).toBe(2)
  })

  it('bounds aliases and size', () => {
    const bomb = `a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n`
    expect(failure(bomb).message).toContain('alias')
    expect(failure(`# ${'x'.repeat(1_100_000)}\n${base}`).message).toContain('1 MiB')
    expect(failure(`a: ${'['.repeat(40)}${']'.repeat(40)}\n`).message).toContain('nested deeper')
  })
})

describe('overrides', () => {
  it('turn a closed loop into an open one and back', () => {
    const open = loadScenario({
      source: 'chat',
      overrides: { rate: 3, arrivals: 'gamma', burstiness: 0.5, requests: 90 },
    })
    expect(open.load.arrival).toMatchObject({ kind: 'open', process: 'gamma', burstiness: 0.5 })
    expect(open.load.requests).toBe(90)
    const closed = loadScenario({ source: 'decode', overrides: { concurrency: 64 } })
    expect(closed.load).toMatchObject({ requests: 256, warmupRequests: 64 })
  })

  it('exclude each other where they contradict', () => {
    expect(() => loadScenario({ source: 'chat', overrides: { rate: 3, concurrency: 4 } })).toThrow(/exclude each other/)
  })

  it('name the nearest preset', () => {
    expect(() => loadScenario({ source: 'chta' })).toThrow(/unknown scenario 'chta'; did you mean 'chat'\?/)
    expect(() => loadScenario({ source: './missing.yaml' })).toThrow(/cannot read/)
  })
})
