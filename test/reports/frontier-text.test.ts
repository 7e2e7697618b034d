import { describe, expect, test } from 'vitest'
import { renderFrontierHtml } from '../../reports/frontier.js'
import { renderFrontierJson, renderFrontierMarkdown, renderFrontierTerminal } from '../../reports/frontier-text.js'
import { fixture, sweepPoints } from './fixture.js'

const points = sweepPoints().map((point) =>
  point.value === 64 && point.target === 'static'
    ? {
        ...point,
        validity: 'INVALID',
        shareOfLimit: 0.41,
        reasons: [
          { code: 'errors', severity: 'invalid' as const, evidence: '3 of 64 requests failed', fix: 'lower the load' },
        ],
      }
    : { ...point, shareOfLimit: 0.125 },
)
const LOOK = { width: 110, color: false, ascii: false }

describe('a sweep as text', () => {
  test('has one row a run with its share of the limit, and every reason with its fix', async () => {
    const terminal = renderFrontierTerminal(points, LOOK)
    const markdown = renderFrontierMarkdown('my-sweep', points)
    const page = await renderFrontierHtml('my-sweep', points, fixture({ blocksPerTarget: 1, requests: 24 }))
    for (const text of [terminal, markdown, page]) {
      expect(text).toContain('13 of 14 runs VALID')
      expect(text).toContain('errors: concurrency 64: 3 of 64 requests failed')
      expect(text).toContain('lower the load')
      expect(text).toContain('12.5%')
      expect(text).toContain('concurrency 64, static: ttft p50 is above 2000 ms')
    }
    expect(terminal.split('\n').filter((line) => /^concurrency \d/.test(line))).toHaveLength(14)
    expect(markdown.split('\n').filter((line) => line.startsWith('| concurrency'))).toHaveLength(14)
  })

  test('keeps to the columns of the terminal, and to ASCII when asked', () => {
    for (const width of [40, 80])
      for (const line of renderFrontierTerminal(points, { ...LOOK, width }).split('\n'))
        expect([...line].length).toBeLessThanOrEqual(width)
    expect(renderFrontierTerminal(points, { ...LOOK, ascii: true })).toMatch(/^[\n -~]*$/)
  })

  test('is JSON with every point', () => {
    const report = JSON.parse(renderFrontierJson(points))
    expect(report.finding).toContain('paged 299 at concurrency 64')
    expect(report.rows).toEqual(points)
  })
})
