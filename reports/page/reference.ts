import { contextLines } from '../context.js'
import { DEFINITIONS } from '../definitions.js'
import { formatBytes, formatCount, formatNumber } from '../format.js'
import type { ReportInput } from '../input.js'
import { html, type Markup, table } from '../markup.js'
import type { PackedRequests } from './requests.js'

/** What ran where, spelled out: enough to run it again. */
export function environmentSection(input: ReportInput): Markup {
  const { environment, targets, telemetry, command, planHash, blocks } = input.run.manifest
  const gpu = telemetry?.gpu ?? null
  const facts: [string, string][] = [
    ...contextLines(input),
    ['plan hash', planHash],
    ['governor', environment.cpuGovernor ?? 'not told by this machine'],
    [
      'commit',
      environment.gitCommit === null
        ? 'not a checkout'
        : `${environment.gitCommit}${environment.gitDirty ? ' with local changes' : ''}`,
    ],
    ...(gpu === null
      ? []
      : ([
          [
            'GPU',
            `${gpu.uuid}, PCI ${gpu.pciBusId}, NVML ${gpu.nvml}, memory ${formatBytes(gpu.memoryTotalBytes)}, limit ${formatNumber(gpu.powerLimitWatts)} W, ${gpu.otherProcesses ?? 'unknown'} other processes`,
          ],
        ] as [string, string][])),
    ...Object.entries(telemetry?.absent ?? {}).map(([field, reason]): [string, string] => [`no ${field}`, reason]),
  ]
  return html`<pre>${command.join(' ')}</pre>
<dl>${facts.map(([label, text]) => html`<dt>${label}</dt><dd>${text}</dd>`)}</dl>
<details><summary>Targets, options and blocks</summary>${table(
    ['target', 'engine', 'origin', 'max length', 'KV memory', 'block', 'options'],
    targets.map((target) => [
      target.name,
      target.engine,
      target.origin,
      target.maxModelLen === null ? '–' : formatCount(target.maxModelLen),
      formatBytes(target.kvBytes),
      target.blockSize ?? '–',
      Object.entries(target.options)
        .map(([key, value]) => `${key}=${value}`)
        .join(' '),
    ]),
    [1, 2, 6],
  )}${table(
    ['block', 'target', 'repeat', 'seconds', 'status', 'reason'],
    blocks.map((block) => [
      block.index,
      block.target,
      block.repeat,
      block.endNs === null ? '–' : formatNumber((block.endNs - block.startNs) / 1e9),
      block.status,
      block.reason ?? '',
    ]),
    [1, 4, 5],
  )}</details>`
}

const LIMITS = [
  'Client and engine share this host unless the target says otherwise: the client’s own work is inside the figures, and its size is stated above when it was calibrated.',
  'Seeded random weights give the timing of real ones of the same shape, and meaningless text.',
  'The drawings show one block of each target; figures use all blocks.',
  'A curve of pooled samples (ECDF) is a picture of raw samples, not an estimate with an interval.',
]

export function definitionsSection(): Markup {
  return html`<dl class="definitions">${DEFINITIONS.map(({ name, meaning }) => html`<dt>${name}</dt><dd>${meaning}</dd>`)}</dl>
<h3>Honest limits</h3><ul>${LIMITS.map((line) => html`<li>${line}</li>`)}</ul>`
}

export function downloadsSection(requests: PackedRequests | null): Markup {
  return html`<section id="downloads"><h2>Data</h2>
<p class="downloads needs-script"><button type="button" data-download="result">Result (JSON)</button>${
    requests === null ? null : html`<button type="button" data-download="requests">Raw requests (JSON lines)</button>`
  }</p>
<p class="quiet">${requests === null ? 'Raw requests are left out of this file; they are in the run’s folder.' : requests.note}</p></section>`
}
