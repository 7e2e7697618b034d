import { describe, expect, test } from 'vitest'
import { headline } from '../../reports/headline.js'
import { renderTerminal } from '../../reports/terminal.js'
import { fixture } from './fixture.js'

const PLAIN = { width: 100, color: false, ascii: false }
const ESC = String.fromCharCode(27)

describe('the table in the terminal', () => {
  test('opens with the finding: a ratio and its interval', () => {
    const input = fixture()
    const [first] = renderTerminal(input, PLAIN).split('\n')
    expect(first).toBe(headline(input))
    expect(first).toMatch(/^paged gives \d\.\d\dx \[\d\.\d\d, \d\.\d\d\] the output tokens\/s of static$/)
  })

  test('stands beside device, weights, dtype, lengths and token source', () => {
    const text = renderTerminal(fixture({ gpu: true }), PLAIN)
    for (const part of [
      'NVIDIA H100',
      'random (seed 1), bf16',
      'lognormal mean 241',
      'engine ids',
      'client adds 0.21 ms',
    ])
      expect(text).toContain(part)
  })

  test('prints a dash with its reason for a percentile under its floor', () => {
    const text = renderTerminal(fixture(), { ...PLAIN, width: 200 })
    expect(text).toMatch(/TTFT p50 \/ p99 ms .* \/ – /)
    expect(text).toContain('TTFT p99 needs 662 completed requests a block: static has 96, paged has 96')
  })

  test.each([40, 52, 64, 80, 120])('stays within %i columns, whatever the number of targets', (width) => {
    const input = fixture({ targets: ['static', 'paged', 'external'], failures: 'some', status: 'partial' })
    for (const line of renderTerminal(input, { ...PLAIN, width }).split('\n'))
      expect([...line].length).toBeLessThanOrEqual(width)
  })

  test('has no escape without colour, and only ASCII when asked', () => {
    const input = fixture({ status: 'partial' })
    expect(renderTerminal(input, PLAIN)).not.toContain(ESC)
    expect(renderTerminal(input, { ...PLAIN, color: true })).toContain(ESC)
    expect(renderTerminal(input, { ...PLAIN, ascii: true })).toMatch(/^[\n -~]*$/)
  })

  test('tells the engine’s own time per step when asked, and why not without a trace', () => {
    const details = { ...PLAIN, width: 300, details: true }
    const text = renderTerminal(fixture(), details)
    expect(text).toMatch(/schedule +launch \(FFI\) +wait[\s\S]*212 \/ 260 +9,400 \/ –.* 3: 4.50 ms, longest 2.25 ms/)
    const narrow = renderTerminal(fixture(), { ...details, width: 60 }).replace(/\s+/g, ' ')
    expect(narrow).toContain('schedule 31.0 / 38.0; launch (FFI) 212 / 260; wait 9,400 / –')
    expect(renderTerminal(fixture(), { ...details, ascii: true })).toMatch(/p99, us a step[\n -~]*$/)
    expect(renderTerminal(fixture(), PLAIN)).not.toContain('launch (FFI)')
    expect(renderTerminal(fixture({ steps: false }), details)).not.toContain('launch (FFI)')
  })

  test('says INVALID, why, and what to do', () => {
    const text = renderTerminal(fixture({ status: 'partial' }), PLAIN)
    expect(text).toContain('INVALID (PARTIAL: the run did not end)')
    expect(text).toMatch(/invalid interrupted: .*Ctrl-C[\s\S]*fix: run again to the end/)
  })

  test('works with one target and one block, and with no success at all', () => {
    const one = renderTerminal(fixture({ targets: ['external'], blocksPerTarget: 1, steps: false }), PLAIN)
    expect(one).toMatch(/^external gives [\d.]+ output tokens\/s\n/)
    expect(one).toContain('an interval needs two blocks')
    const none = renderTerminal(fixture({ targets: ['external'], blocksPerTarget: 1, failures: 'all' }), PLAIN)
    expect(none).toMatch(/^INVALID: external: no throughput could be measured\n/)
    expect(none).toContain('96 of 96')
    expect(none).not.toMatch(/NaN|undefined|null|Infinity/)
  })

  test('prints nothing that a server’s text could do to a terminal', () => {
    const input = fixture()
    input.run.manifest.targets[1]!.name = `${ESC}]0;owned\u0007pa${ESC}[2Jged`
    input.run.manifest.notices = [`${ESC}[31mred`]
    const text = renderTerminal(input, PLAIN)
    expect(text).not.toContain(ESC)
    expect(text).toContain('notice red')
  })
})

describe('the finding', () => {
  test('says equal when equal, and inconclusive when it is', () => {
    const input = fixture()
    const row = input.summary.comparisons[0]!
    Object.assign(row, { verdict: 'equivalent', ratio: 1.01, ratioLow: 0.99, ratioHigh: 1.03 })
    expect(headline(input)).toBe('paged and static have equal throughput within 5%: 1.01x [0.99, 1.03]')
    row.verdict = 'inconclusive'
    expect(headline(input)).toContain('(inconclusive)')
  })

  test('names every target that is compared', () => {
    const input = fixture({ targets: ['static', 'paged', 'external'] })
    expect(headline(input)).toMatch(/^paged gives .*x \[.*\], external .*x \[.*\] the output tokens\/s of static$/)
  })
})
