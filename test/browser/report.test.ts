import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { renderFrontierHtml } from '../../reports/frontier.js'
import { renderHtml } from '../../reports/html.js'
import type { ReportInput } from '../../reports/input.js'
import { fixture, sweepPoints } from '../reports/fixture.js'
import { temporaryFolder } from '../result/builders.js'
import { Chromium, chromiumPath } from './chromium.js'
import { HOSTILE_STRINGS } from './hostile-strings.js'

const path = chromiumPath()
const folder = temporaryFolder()
let browser: Chromium

beforeAll(async () => {
  if (path === null) throw new Error('no Chromium found: apt-get install chromium, or set CHROMIUM_PATH')
  browser = await Chromium.launch(path)
})
afterAll(() => browser?.close())

async function openReport(name: string, input: ReportInput): Promise<string> {
  const file = join(folder, `${name}.html`)
  writeFileSync(file, await renderHtml(input))
  const url = pathToFileURL(file).href
  await browser.open(url)
  return url
}

/** Scrolls through the page until every chart has come alive. */
async function hydrateAll(): Promise<number> {
  const left = `[...document.querySelectorAll('figure[data-chart]:not(.hydrated)')]`
  await browser.until(async () => {
    await browser.evaluate(`${left}[0]?.scrollIntoView(), 0`)
    return (await browser.evaluate<number>(`${left}.length`)) === 0
  }, 'all charts to come alive')
  return browser.evaluate<number>(`document.querySelectorAll('figure.hydrated').length`)
}

/** Network requests beyond the page itself, and everything a console would show in red. */
function complaints(url: string): string[] {
  return browser.events.flatMap(({ method, params }) => {
    const request = params['request'] as { url: string } | undefined
    if (method === 'Network.requestWillBeSent' && request!.url !== url && !request!.url.startsWith('data:'))
      return [`request ${request!.url}`]
    const failed = ['Runtime.exceptionThrown', 'Page.javascriptDialogOpening'].includes(method)
    const logged = method === 'Log.entryAdded' && (params['entry'] as { level: string }).level === 'error'
    const printed = method === 'Runtime.consoleAPICalled' && ['error', 'warning'].includes(params['type'] as string)
    return failed || logged || printed ? [`${method} ${JSON.stringify(params).slice(0, 300)}`] : []
  })
}

const CASES: [string, ReportInput][] = [
  ['two engines on a CPU', fixture()],
  [
    'three targets on a GPU',
    fixture({
      ...{ gpu: true, targets: ['static', 'paged', 'external'], serverMetrics: true },
      ...{ requests: 700, concurrency: 64 },
    }),
  ],
  [
    'one external target, one block, no step trace',
    fixture({ targets: ['external'], blocksPerTarget: 1, steps: false }),
  ],
  ['a partial run with failures', fixture({ status: 'partial', failures: 'some' })],
  ['no request that succeeded', fixture({ failures: 'all', targets: ['external'], blocksPerTarget: 1 })],
]

describe.each(CASES)('the report of %s', (name, input) => {
  test('opens without a network request or a console error, and every chart comes alive', async () => {
    const url = await openReport(name.replaceAll(' ', '-'), input)
    const charts = await browser.evaluate<number>(`document.querySelectorAll('figure[data-chart]').length`)
    expect(charts).toBeGreaterThan(0)
    expect(await hydrateAll()).toBe(charts)
    expect(complaints(url)).toEqual([])
  })

  test('shows every chart without scripts', async () => {
    await browser.call('Emulation.setScriptExecutionDisabled', { value: true })
    try {
      await openReport('no-scripts', input)
      const { root } = (await browser.call('DOM.getDocument', { depth: 0 })) as { root: { nodeId: number } }
      const find = async (selector: string) =>
        (await browser.call('DOM.querySelectorAll', { nodeId: root.nodeId, selector }))['nodeIds'] as number[]
      const figures = await find('figure[data-chart]')
      const drawings = await find('figure[data-chart] .plot > svg')
      expect(drawings).toHaveLength(figures.length)
      for (const nodeId of drawings) {
        const { model } = (await browser.call('DOM.getBoxModel', { nodeId })) as {
          model: { width: number; height: number }
        }
        expect(model.width).toBeGreaterThan(200)
        expect(model.height).toBeGreaterThan(40)
      }
    } finally {
      await browser.call('Emulation.setScriptExecutionDisabled', { value: false })
    }
  })
})

test('the report of a sweep opens without a request or an error, and comes alive', async () => {
  const file = join(folder, 'sweep.html')
  writeFileSync(file, await renderFrontierHtml('sweep', sweepPoints(), fixture()))
  const url = pathToFileURL(file).href
  await browser.open(url)
  expect(await hydrateAll()).toBe(2)
  expect(complaints(url)).toEqual([])
})

describe('the page', () => {
  const background = `getComputedStyle(document.body).backgroundColor`
  const emulate = (features: { name: string; value: string }[], media = '') =>
    browser.call('Emulation.setEmulatedMedia', { media, features })

  test('is light, dark and light again in print, with drawings that follow', async () => {
    await openReport('themes', fixture())
    const bar = `getComputedStyle(document.querySelector('#chart-throughput .plot path[fill="var(--t0)"]')).fill`
    await emulate([{ name: 'prefers-color-scheme', value: 'light' }])
    const light = [await browser.evaluate(background), await browser.evaluate(bar)]
    await emulate([{ name: 'prefers-color-scheme', value: 'dark' }])
    const dark = [await browser.evaluate(background), await browser.evaluate(bar)]
    await emulate([{ name: 'prefers-color-scheme', value: 'dark' }], 'print')
    const print = [await browser.evaluate(background), await browser.evaluate(bar)]
    await emulate([{ name: 'prefers-color-scheme', value: 'dark' }])
    await browser.evaluate(`document.getElementById('theme').click()`)
    const toggled = [await browser.evaluate(background), await browser.evaluate(bar)]
    await emulate([])
    expect(light[0]).toBe('rgb(255, 255, 255)')
    expect(dark).not.toEqual(light)
    expect(dark[1]).not.toBe(light[1])
    expect(print).toEqual(light)
    expect(toggled).toEqual(light)
  })

  test('hides and shows a target by its legend', async () => {
    await openReport('legend', fixture())
    await hydrateAll()
    const lines = `document.querySelectorAll('#chart-ttft .plot path[stroke="var(--t1)"]').length`
    const before = await browser.evaluate<number>(lines)
    expect(before).toBeGreaterThan(0)
    await browser.evaluate(`document.querySelector('#chart-ttft [data-series="t1"]').click()`)
    await browser.until(async () => (await browser.evaluate<number>(lines)) === 0, 'the line to go')
    await browser.evaluate(`document.querySelector('#chart-ttft [data-series="t1"]').click()`)
    await browser.until(async () => (await browser.evaluate<number>(lines)) === before, 'the line to come back')
  })

  test('reads out all panels of the time line at the pointer, and a bar on hover', async () => {
    await openReport('tooltips', fixture())
    await hydrateAll()
    // The page may still settle: the pointer is moved until the tooltip is there, as a hand would.
    const hover = async (selector: string) => {
      let moves = 0
      await browser.until(async () => {
        const at = await browser.evaluate<{ x: number; y: number }>(
          `(() => { const e = document.querySelector('${selector}'); e.scrollIntoView({ block: 'center', behavior: 'instant' }); const r = e.getBoundingClientRect(); return { x: r.x + r.width / 3, y: r.y + r.height / 2 } })()`,
        )
        await browser.call('Input.dispatchMouseEvent', { type: 'mouseMoved', x: at.x + (moves++ % 5), y: at.y })
        return browser.evaluate<boolean>(`!document.getElementById('tip').hidden`)
      }, 'a tooltip')
      return browser.evaluate<string>(`document.getElementById('tip').textContent`)
    }
    expect(await hover('#chart-throughput .plot path[fill="var(--t1)"]')).toContain('paged')
    await browser.call('Input.dispatchMouseEvent', { type: 'mouseMoved', x: 2, y: 2 })
    await browser.until(() => browser.evaluate<boolean>(`document.getElementById('tip').hidden`), 'the tooltip to go')
    const readout = await hover('#chart-timeline .plot')
    expect(readout).toContain('Output tokens/s received')
    expect(readout).toContain('KV cache blocks held')
  })

  test('zooms a chart with shift and wheel', async () => {
    await openReport('zoom', fixture())
    await hydrateAll()
    const labels = `[...document.querySelectorAll('#chart-gantt .plot text')].map((e) => e.textContent).join(' ')`
    const before = await browser.evaluate<string>(labels)
    const at = await browser.evaluate<{ x: number; y: number }>(
      `(() => { const e = document.querySelector('#chart-gantt .plot'); e.scrollIntoView({ behavior: 'instant' }); const r = e.getBoundingClientRect(); return { x: r.x + 200, y: r.y + 150 } })()`,
    )
    for (let turn = 0; turn < 5; turn++)
      await browser.call('Input.dispatchMouseEvent', {
        type: 'mouseWheel',
        ...at,
        deltaX: 0,
        deltaY: -240,
        modifiers: 8,
      })
    await browser.until(async () => (await browser.evaluate<string>(labels)) !== before, 'other axis labels')
  })

  test('saves result, requests, and a chart as SVG, CSV and specification', async () => {
    const url = await openReport('downloads', fixture())
    await hydrateAll()
    await browser.evaluate(
      `document.querySelectorAll('[data-download], #chart-gantt [data-save]').forEach((b) => b.click())`,
    )
    const names = ['.json', '-requests.jsonl', '-gantt.svg', '-gantt.csv', '-gantt.vg.json'].map(
      (end) => `20260102-030405-chat${end}`,
    )
    await browser.until(
      () => names.every((name) => existsSync(join(browser.profile, name))),
      `downloads (has ${readdirSync(browser.profile)})`,
    )
    const read = (index: number) => readFileSync(join(browser.profile, names[index]!), 'utf8')
    await browser.until(() => read(0).length > 0 && read(2).length > 0, 'files to be written')
    expect(JSON.parse(read(0)).summary.schema).toBe('pagedbench/summary@1')
    expect(read(1).trim().split('\n')).toHaveLength(6 * 96)
    expect(read(2)).toContain('<pattern')
    expect(read(2)).not.toContain('var(--')
    expect(read(3).split('\r\n')[0]).toMatch(/^dataset,s,row,from,to/)
    expect(JSON.parse(read(4)).$schema).toContain('vega')
    expect(complaints(url).filter((line) => !line.startsWith('request blob:'))).toEqual([])
  })

  test(`runs none of ${HOSTILE_STRINGS.length} hostile texts in names, models, options, notices and server text`, {
    timeout: 240_000,
  }, async () => {
    expect(HOSTILE_STRINGS.length).toBeGreaterThanOrEqual(100)
    const perPage = 12
    for (let from = 0; from < HOSTILE_STRINGS.length; from += perPage) {
      const url = await openReport('hostile', poisoned(HOSTILE_STRINGS.slice(from, from + perPage)))
      await hydrateAll()
      expect(complaints(url)).toEqual([])
      const found = await browser.evaluate<unknown>(
        `({ ran: window.__ran ?? null, scripts: document.scripts.length, foreign: document.querySelectorAll('img, iframe, object, embed, form:not(.vega-bindings), base, video, math, foreignObject, link:not([rel=icon])').length, handlers: [...document.querySelectorAll('*')].filter((e) => [...e.attributes].some((a) => a.name.startsWith('on') || /^\\s*javascript:/i.test(a.value))).length })`,
      )
      expect(found).toEqual({ ran: null, scripts: 4, foreign: 0, handlers: 0 })
    }
  })
})

/** The typical run with hostile texts wherever text from outside can stand. */
function poisoned(texts: readonly string[]): ReportInput {
  const input = structuredClone(fixture({ requests: 24, concurrency: 8, failures: 'some' }))
  const text = (index: number) => texts[index % texts.length]!
  const rename = new Map(input.run.manifest.targets.map((target, index) => [target.name, text(index)]))
  for (const [index, target] of input.run.manifest.targets.entries()) {
    const fields = { name: text(index), model: text(index + 2), engine: text(index + 3), device: text(index + 4) }
    Object.assign(target, fields, {
      weights: text(index + 5),
      dtype: text(index + 6),
      origin: text(index + 7),
      tokenSource: text(index + 8),
    })
    target.options = { [text(index + 9)]: text(index + 10) }
  }
  Object.assign(input.run.manifest, {
    id: text(1),
    scenarioLine: texts.join(' '),
    planHash: text(2),
    command: [...texts],
    notices: [...texts],
  })
  Object.assign(input.run.manifest.environment, {
    cpu: text(3),
    os: text(4),
    host: text(5),
    node: text(6),
    benchVersion: text(7),
  })
  for (const block of input.run.blocks) {
    block.manifest.target = rename.get(block.manifest.target)!
    block.manifest.reason = text(8)
    for (const record of block.records) if (record.outcome !== 'ok') record.detail = text(record.index)
  }
  for (const block of input.summary.blocks) {
    block.target = rename.get(block.target)!
    const nothing = { parts: [], clientTtftMs: null, restMs: null, prefixHitShare: null, count: null, cannotSay: [] }
    block.serverSplit = { ...nothing, server: null, url: text(11), why: text(12), cannotSay: [...texts] }
  }
  input.run.manifest.requestCeilings = texts.map((target) => ({
    ...{ target, connections: 1, durationSecs: 1, requests: 1, requestsPerSecond: 1 },
    ...{ latencyP50Ms: 1, latencyP99Ms: 1, failures: 0 },
  }))
  for (const target of input.summary.targets) target.target = rename.get(target.target)!
  for (const row of [...input.summary.comparisons, ...input.summary.answers])
    Object.assign(row, { base: rename.get(row.base)!, head: rename.get(row.head)! })
  input.summary.notices = [...texts]
  input.summary.verdict = {
    validity: 'INVALID',
    reasons: texts.map((evidence) => ({ code: 'client', severity: 'invalid', evidence, fix: evidence })),
  }
  return input
}

/** The page that a real `bench run` has just written: .ci/run names it in BENCH_REPORT; alone, the tests above stand in for it. */
const written = process.env['BENCH_REPORT']
describe.runIf(written !== undefined)('the report of the default run', () => {
  test('opens without a network request or a console error, and every chart comes alive', async () => {
    const url = pathToFileURL(written!).href
    await browser.open(url)
    expect(await browser.evaluate<number>(`document.querySelectorAll('figure svg').length`)).toBeGreaterThan(6)
    expect(await hydrateAll()).toBeGreaterThan(6)
    expect(await browser.evaluate<string>(`document.querySelector('h1').textContent`)).toMatch(/paged gives \d/)
    expect(complaints(url)).toEqual([])
  })
})
