import { describe, expect, test } from 'vitest'
import { cleanLine, escapeCsv, escapeHtml, escapeMarkdown, jsonForHtml } from '../../reports/clean.js'
import {
  formatBytes,
  formatInterval,
  formatNumber,
  formatRatio,
  formatShare,
  formatSpan,
} from '../../reports/format.js'

describe('numbers', () => {
  test.each([
    [null, '–'],
    [Number.NaN, '–'],
    [0, '0'],
    [0.0123, '0.0123'],
    [0.5, '0.500'],
    [9.876, '9.88'],
    [98.76, '98.8'],
    [987.6, '988'],
    [9876.5, '9,877'],
    [-12.34, '-12.3'],
    [1e-9, '0.000000'],
  ])('%s prints as %s', (value, text) => {
    expect(formatNumber(value)).toBe(text)
  })

  test('ratios keep their meaning when small', () => {
    expect([2.3149, 0.95, 0.0182, null].map(formatRatio)).toEqual(['2.31x', '0.95x', '0.0182x', '–'])
    expect(formatInterval(2.24, 2.381, formatRatio)).toBe('[2.24, 2.38]')
    expect(formatInterval(null, 2, formatRatio)).toBe('')
  })

  test('shares, bytes and spans', () => {
    expect([0, 0.314, 0.99951, 1, null].map(formatShare)).toEqual(['0%', '31.4%', '100%', '100%', '–'])
    expect([0, 999, 23_040, 1.5e10].map(formatBytes)).toEqual(['0 B', '999 B', '23.0 kB', '15.0 GB'])
    expect(formatSpan([1, null, 1.001], formatNumber)).toBe('1.00')
    expect(formatSpan([1, 2], formatNumber)).toBe('1.00 to 2.00')
    expect(formatSpan([null], formatNumber)).toBe('–')
  })
})

describe('text from outside', () => {
  test.each([
    ['\u001b[31mred\u001b[0m', 'red'],
    ['\u009b31mred', 'red'],
    ['\u001b]8;;http://x\u0007link\u001b]8;;\u0007', 'link'],
    ['\u001b]0;title\u001b\\rest', 'rest'],
    ['\u001bPpayload\u001b\\rest', 'rest'],
    ['a\r\nb\tc\u0000d', 'a b c d'],
    ['\u202eabc\u200bdef\u2066', 'abc def'],
    ['\u001b[2J\u001b[1;1H', ''],
    ['\u001bcreset', 'reset'],
  ])('%j becomes %j', (hostile, clean) => {
    expect(cleanLine(hostile)).toBe(clean)
  })

  test('is bounded, in characters and in time', () => {
    expect([...cleanLine('\u{1f600}'.repeat(1000), 50)]).toHaveLength(50)
    const started = performance.now()
    cleanLine('\u001b]'.repeat(2_000_000))
    cleanLine(`\u001b[${'0'.repeat(4_000_000)}`)
    expect(performance.now() - started).toBeLessThan(500)
  })

  test('cannot leave HTML text, an attribute or a JSON element', () => {
    expect(escapeHtml(`<a b="c" d='e'>&`)).toBe('&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;')
    const json = jsonForHtml({ a: '</script><!--\u2028&' })
    expect(json).not.toMatch(/[<>&\u2028]/)
    expect(JSON.parse(json)).toEqual({ a: '</script><!--\u2028&' })
  })

  test('cannot become markup, a link or a mention in Markdown', () => {
    const text = escapeMarkdown('| [x](http://y) <img> @team `a` **b**')
    expect(text).not.toMatch(/(?<!\\)[[\]()|`*]|<|:\/\/|@\w/)
  })

  test.each([
    ['=1+1', "'=1+1"],
    ['@x', "'@x"],
    ['-cmd', "'-cmd"],
    ['-1.5', '-1.5'],
    ['+2e3', '+2e3'],
    ['a,b', '"a,b"'],
    ['a"b', '"a""b"'],
  ])('CSV cell %j becomes %j', (cell, safe) => {
    expect(escapeCsv(cell)).toBe(safe)
  })
})
