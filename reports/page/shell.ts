import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { jsonForHtml } from '../clean.js'
import { html, type Markup, raw } from '../markup.js'
import type { RenderedChart } from '../render.js'
import { pageAssets } from './assets.js'

export interface PageParts {
  title: string
  /** Anchors of the bar at the top. */
  sections: readonly [id: string, label: string][]
  body: Markup
  charts: ReadonlyMap<string, RenderedChart>
  /** What "Result (JSON)" saves; its name is `id`. */
  id: string
  result: unknown
  /** gzip of JSON lines, base64. */
  requests: string | null
}

/** The whole file around a body: policy, styles, data and script, all inline. The policy forbids every request. */
export function pageShell(parts: PageParts): string {
  const { css, script } = pageAssets()
  const policy = [
    "default-src 'none'",
    `script-src 'sha256-${createHash('sha256').update(script).digest('base64')}'`,
    "style-src 'unsafe-inline'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ')
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${raw(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${parts.title}</title>
<link rel="icon" href="data:,">
<style>${raw(css)}</style>
</head>
<body>
${hatch()}
${bar(parts.sections)}
<main>
${parts.body}
</main>
<div id="tip" role="tooltip" hidden></div>
<script type="application/json" id="data">${raw(jsonForHtml({ id: parts.id, result: parts.result }))}</script>
<script type="text/plain" id="charts">${raw(packCharts(parts.charts))}</script>
${parts.requests === null ? null : html`<script type="text/plain" id="requests">${raw(parts.requests)}</script>`}
<script>${raw(script)}</script>
</body>
</html>
`.text
}

function bar(sections: PageParts['sections']): Markup {
  return html`<nav class="bar" aria-label="Sections"><div><strong>pagedbench</strong>${sections.map(([id, label]) => html`<a href="#${id}">${label}</a>`)}<button id="theme" class="needs-script" type="button" aria-label="Switch between light and dark">Dark</button></div></nav>`
}

/** The one pattern that all drawings refer to: computed for nothing. */
function hatch(): Markup {
  return raw(
    '<svg class="defs" aria-hidden="true"><defs><pattern id="hatch" patternUnits="userSpaceOnUse" width="4.2" height="4.2" patternTransform="rotate(45)"><rect width="4.2" height="4.2" fill="var(--waste-ground)"/><rect width="1.6" height="4.2" fill="var(--waste)"/></pattern></defs></svg>',
  )
}

/** The compiled specifications, gzip and base64: the summary stays readable, this need not. */
function packCharts(charts: ReadonlyMap<string, RenderedChart>): string {
  const specs = Object.fromEntries([...charts].map(([id, { chart, vega }]) => [id, { vega, readout: chart.readout }]))
  return gzipSync(JSON.stringify(specs), { level: 9 }).toString('base64')
}
