// The report's own script: plain browser JavaScript, placed into the page as it stands. The page is complete without it; it adds
// tooltips, zoom, legend toggles, the theme button and downloads. Text from the run only ever becomes textContent.
/* global vega */
;(() => {
  const { id, result } = JSON.parse(document.getElementById('data').textContent)
  const charts = unpack(document.getElementById('charts').textContent).then(JSON.parse)
  const root = document.documentElement
  root.classList.add('scripted')
  const tip = document.getElementById('tip')

  for (const figure of document.querySelectorAll('figure[data-chart]')) prepareFigure(figure)
  prepareTheme()
  for (const button of document.querySelectorAll('[data-download]'))
    button.addEventListener('click', () => downloads[button.dataset.download]())

  /** Charts come alive when they come near the view: the first paint needs no script. */
  function prepareFigure(figure) {
    const chart = charts.then((all) => all[figure.dataset.chart])
    const observer = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return
        observer.disconnect()
        chart.then((ready) => hydrate(figure, ready))
      },
      { rootMargin: '400px' },
    )
    observer.observe(figure)
    for (const button of figure.querySelectorAll('[data-save]'))
      button.addEventListener('click', async () => saveChart(figure, await chart, button.dataset.save))
  }

  async function hydrate(figure, chart) {
    const plot = figure.querySelector('.plot')
    const stage = document.createElement('div')
    const size = plot.querySelector('svg').viewBox.baseVal
    try {
      const view = new vega.View(vega.parse(chart.vega, null, { ast: true }), {
        expr: vega.expressionInterpreter,
        renderer: 'svg',
        container: stage,
        hover: true,
        tooltip: (_handler, event, _item, value) => showTip(event, value),
      })
      await view.runAsync()
      const svg = stage.querySelector('svg')
      svg.removeAttribute('width')
      svg.removeAttribute('height')
      svg.style.cssText = `max-width:${svg.viewBox.baseVal.width}px;--natural:${svg.viewBox.baseVal.width}px`
      svg.setAttribute('aria-hidden', 'true')
      plot.dataset.drawnWidth = String(size.width)
      plot.replaceChildren(stage)
      figure.classList.add('hydrated')
      prepareLegend(figure, view)
      if (chart.readout) prepareReadout(plot, view, chart)
    } catch (error) {
      // The drawing made at build time stays.
      console.error(`chart ${figure.dataset.chart}: ${error.message}`)
    }
  }

  function prepareLegend(figure, view) {
    for (const button of figure.querySelectorAll('.legend button')) {
      button.disabled = false
      button.addEventListener('click', () => {
        const shown = button.getAttribute('aria-pressed') === 'true'
        button.setAttribute('aria-pressed', String(!shown))
        const hidden = [...figure.querySelectorAll('.legend button[aria-pressed="false"]')].map(
          (entry) => entry.dataset.series,
        )
        view.signal('hidden', hidden).runAsync()
      })
    }
  }

  /** All panels of a time chart at the pointer: values of every data set at that time, in one box. */
  function prepareReadout(plot, view, chart) {
    const line = document.createElement('div')
    line.className = 'crosshair'
    plot.append(line)
    const series = chart.readout.datasets.map(({ name, label }) => ({
      label,
      rows: chart.vega.data.find((set) => set.name === name).values,
    }))
    plot.addEventListener('pointerleave', () => {
      line.style.display = 'none'
      showTip(null, null)
    })
    plot.addEventListener('pointermove', (event) => {
      const area = plot.querySelector('path.background[d]:not([d^="M0,0h0"])')
      const boxes = [...plot.querySelectorAll('.mark-group.role-scope path.background')].map((path) =>
        path.getBoundingClientRect(),
      )
      const box = boxes.find((rect) => rect.width > 100) ?? area.getBoundingClientRect()
      const scale = view.scale('x')
      const [low, high] = scale.domain()
      const share = (event.clientX - box.left) / box.width
      if (share < 0 || share > 1) return
      const time = low + share * (high - low)
      const frame = plot.getBoundingClientRect()
      line.style.cssText = `display:block;left:${event.clientX - frame.left + plot.scrollLeft}px;top:0;height:${frame.height}px`
      const rows = series.flatMap(({ label, rows: points }) =>
        lastAt(points, time).map((point) => ({ label, ...point })),
      )
      showReadout(event, `${time.toFixed(2)} ${chart.readout.unit}`, rows)
    })
  }

  /** The value each line holds at a time: its last point at or before it. */
  function lastAt(points, time) {
    const found = new Map()
    for (const point of points) if (point.t <= time) found.set(`${point.s} ${point.line ?? ''}`, point)
    return [...found.values()].filter((point) => point.v !== null)
  }

  function showReadout(event, title, rows) {
    const table = document.createElement('table')
    for (const { label, s, v, line } of rows) {
      const row = table.insertRow()
      const name = row.insertCell()
      const swatch = document.createElement('i')
      swatch.style.background = `var(--${s})`
      name.append(swatch, label.split(',')[0].slice(0, 34) + (line === 'dashed' ? ' (dashed)' : ''))
      row.insertCell().textContent = v.toLocaleString('en-US')
    }
    place(event, [title, table])
  }

  /** A Vega tooltip value: a string, or an object of names and values. */
  function showTip(event, value) {
    if (value === null || value === undefined || value === '') {
      tip.hidden = true
      return
    }
    if (typeof value !== 'object') return place(event, [String(value)])
    const table = document.createElement('table')
    for (const [key, entry] of Object.entries(value)) {
      const row = table.insertRow()
      row.insertCell().textContent = key
      row.insertCell().textContent = String(entry)
    }
    place(event, [table])
  }

  function place(event, content) {
    tip.replaceChildren(...content)
    tip.hidden = false
    const { width, height } = tip.getBoundingClientRect()
    const right = event.clientX + 16 + width < innerWidth
    tip.style.left = `${right ? event.clientX + 16 : Math.max(4, event.clientX - 16 - width)}px`
    tip.style.top = `${Math.max(4, Math.min(innerHeight - height - 4, event.clientY + 14))}px`
  }

  function prepareTheme() {
    const button = document.getElementById('theme')
    const dark = () =>
      root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches
    const label = () => {
      button.textContent = dark() ? 'Light' : 'Dark'
    }
    label()
    button.addEventListener('click', () => {
      root.dataset.theme = dark() ? 'light' : 'dark'
      label()
    })
  }

  const downloads = {
    result: () => save(`${id}.json`, 'application/json', JSON.stringify(result, null, 2)),
    requests: async () => {
      const text = await unpack(document.getElementById('requests').textContent)
      save(`${id}-requests.jsonl`, 'application/jsonl', text)
    },
  }

  async function unpack(base64) {
    const bytes = Uint8Array.from(atob(base64.trim()), (character) => character.charCodeAt(0))
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))
    return new Response(stream).text()
  }

  function saveChart(figure, chart, kind) {
    const name = `${id}-${figure.dataset.chart}`
    if (kind === 'svg') save(`${name}.svg`, 'image/svg+xml', standaloneSvg(figure))
    if (kind === 'spec') save(`${name}.vg.json`, 'application/json', JSON.stringify(chart.vega, null, 1))
    if (kind === 'csv') save(`${name}.csv`, 'text/csv', toCsv(chart.vega))
  }

  /** Every data set of the chart, one after the other; cells that a spreadsheet would run are defused. */
  function toCsv(spec) {
    const sets = spec.data.filter((set) => Array.isArray(set.values) && set.values.length > 0)
    const columns = [...new Set(sets.flatMap((set) => Object.keys(set.values[0])))]
    const cell = (value) => {
      const text = value === undefined || value === null ? '' : String(value)
      const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
      return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
    }
    const lines = [['dataset', ...columns].map(cell).join(',')]
    for (const set of sets)
      for (const row of set.values) lines.push([set.name, ...columns.map((column) => row[column])].map(cell).join(','))
    return `${lines.join('\r\n')}\r\n`
  }

  /** The drawing with the page's colours written in, and the hatching it refers to. */
  function standaloneSvg(figure) {
    const svg = figure.querySelector('.plot svg').cloneNode(true)
    const pattern = document.querySelector('.defs defs').cloneNode(true)
    svg.prepend(pattern)
    svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
    const text = new XMLSerializer().serializeToString(svg)
    const probe = document.body.appendChild(document.createElement('i'))
    const resolved = text.replace(/var\(--[\w-]+\)/g, (name) => {
      probe.style.color = name
      return getComputedStyle(probe).color
    })
    probe.remove()
    return resolved
  }

  function save(name, type, text) {
    const url = URL.createObjectURL(new Blob([text], { type }))
    const link = document.createElement('a')
    link.href = url
    link.download = name
    link.click()
    setTimeout(() => URL.revokeObjectURL(url), 10_000)
  }
})()
