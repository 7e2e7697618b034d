import { ENGINE_TIME_NOTE, engineTimeTable } from '../engine-time.js'
import type { ReportInput } from '../input.js'
import { html, type Markup, table } from '../markup.js'

/** What of a step is the engine's own, not the device's; null when no target wrote a step trace. */
export function engineTimeSection(input: ReportInput): Markup | null {
  const time = engineTimeTable(input)
  if (time === null) return null
  return html`<h3>The engine’s own time per step</h3>
${table(time.head, time.rows)}
<p class="quiet">${ENGINE_TIME_NOTE}</p>`
}
