#!/usr/bin/env node
// The other load generators beside ours, on a server in a process of its own that plays a known schedule and writes down what it did:
//   node test/peers/other-tools.mjs MODE [--guidellm PATH] [--aiperf PATH] [--vllm PATH] --tokenizer DIR [--json FILE]
// same-events  each tool's own events of a run (12 to 24 requests), our column computed from them, beside what the tool printed; exit code 1
//          when a figure is not within the tool's rounding. [--requests N] [--keep DIR: its files] [--api chat|completions]
// compat   a recorded set of streams played to every client: what it prints beside what the server did. [--concurrency 1,4] [--api ...]
// ceiling  no pause between tokens: tokens/s that each client takes in, by the server's own stamps; server on core 0, clients on core 1.
//          [--concurrency 16,64,256,1024] [--writes 1,8: single-token frames of one stream that the server puts into one socket write]
// truth    ours alone: what was programmed and what the server wrote down beside what was measured, at 1, 16 and 256 streams.
// half     ours alone, at half of its ceiling: how late its event loop is.
// streams  ours alone: 10,000 open streams at once, lost and memory.
// A tool that is not given is named as missing. DIR is a folder with a Hugging Face tokenizer.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ceiling, half } from './ceiling.mjs'
import { compat, sameEvents } from './compat.mjs'
import { oneRun, pinClient } from './null-bench.mjs'
import { streams } from './streams.mjs'
import { givenTools, runTool } from './tools.mjs'
import { truth } from './truth.mjs'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    guidellm: { type: 'string' },
    aiperf: { type: 'string' },
    vllm: { type: 'string' },
    tokenizer: { type: 'string' },
    api: { type: 'string', default: 'chat' },
    concurrency: { type: 'string' },
    writes: { type: 'string', default: '1,8' },
    requests: { type: 'string', default: '24' },
    keep: { type: 'string' },
    json: { type: 'string' },
  },
})
const folder = mkdtempSync(join(tmpdir(), 'other-tools-'))

pinClient()
const numbers = (list) => list.split(',').map(Number)
const concurrencies = (usual) => numbers(flags.concurrency ?? usual)
const MODES = {
  'same-events': () => sameEvents({ ...flags, requests: Number(flags.requests) }, folder),
  compat: () => compat({ ...flags, concurrency: concurrencies('1,4') }, folder),
  ceiling: () => ceiling(clients(), concurrencies('16,64,256,1024'), numbers(flags.writes)),
  truth: () => truth(),
  half: () => half(concurrencies('16,64,256,1024')),
  streams,
}
const mode = MODES[positionals[0]]
if (mode === undefined) throw new Error(`give a mode: ${Object.keys(MODES).join(', ')}`)
const result = await mode()
if (flags.json) writeFileSync(flags.json, `${JSON.stringify(result, null, 1)}\n`)
rmSync(folder, { recursive: true, force: true })

/** Ours, and every tool that was given. At an eighth of our speed half the tokens tell the rate as well. */
function clients() {
  const run = (tool) => (server, load) => {
    const output = tool === 'vllm' ? load.output : load.output / 2
    const theirs = { ...load, output, api: 'completions', detailed: false }
    return runTool(tool, flags, new URL(server.url).origin, theirs, folder)
  }
  return Object.fromEntries([['ours', oneRun], ...givenTools(flags).map((tool) => [tool, run(tool)])])
}
