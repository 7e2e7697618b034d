import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseArguments, UsageError } from '../../engines/arguments.js'

const parse = (args: string[], env: NodeJS.ProcessEnv = {}) => parseArguments(args, env)

function failure(args: string[], env: NodeJS.ProcessEnv = {}): UsageError {
  try {
    parse(args, env)
  } catch (error) {
    if (error instanceof UsageError) return error
    throw error
  }
  throw new Error('accepted')
}

describe('the command line of an engine process', () => {
  it('has a default for every option', () => {
    const { engine, server, lifetime } = parse([])
    for (const [name, value] of Object.entries({ ...engine, ...server, ...lifetime })) {
      expect(value, name).not.toBeUndefined()
    }
    expect(engine).toMatchObject({ engine: 'paged', host: '127.0.0.1', dtype: 'auto', enablePrefixCaching: true })
  })

  it("takes vLLM's spellings", () => {
    const args = ['--max-num-seqs', '32', '--max-num-batched-tokens=512', '--gpu-memory-utilization', '0.5']
    args.push('--no-enable-prefix-caching', '--no-async-scheduling', '--enforce-eager', '--dtype', 'bfloat16')
    args.push('--served-model-name', 'x', '--scheduling-policy', 'priority', '--kv-cache-bytes', '1000000')
    expect(parse(args).engine).toMatchObject({
      maxNumSeqs: 32,
      maxNumBatchedTokens: 512,
      gpuMemoryUtilization: 0.5,
      enablePrefixCaching: false,
      enableChunkedPrefill: true,
      asyncScheduling: false,
      enforceEager: true,
      dtype: 'bf16',
      servedModelName: 'x',
      schedulingPolicy: 'priority',
      kvCacheBytes: 1_000_000,
    })
  })

  it('keeps the flags of the server out of the options of the engine', () => {
    expect(Object.keys(parse([]).engine)).not.toContain('maxBodyBytes')
    expect(parse(['--sse-ping-secs', '0.5', '--allowed-hosts', 'a,b']).server).toMatchObject({
      pingMs: 500,
      allowedHosts: ['a', 'b'],
    })
  })

  it('names the nearest flag for a misspelt one', () => {
    const error = failure(['--max-num-seq', '3'])
    expect(error.message).toContain('Did you mean --max-num-seqs?')
    expect(error.exitCode).toBe(2)
  })

  it.each([
    [['--port', '70000']],
    [['--port', 'x']],
    [['--max-num-seqs', '0']],
    [['--max-num-seqs', '1e3']],
    [['--gpu-memory-utilization', '1.5']],
    [['--engine', 'both']],
    [['--dtype', 'int8']],
    [['--grace-secs', '-1']],
    [['--grace-secs', '']],
    [['extra']],
    [['--model']],
    [['--api-key-file', '/no/such/file']],
  ])('refuses %j', (args) => {
    expect(failure(args).exitCode).toBe(2)
  })

  it('reads the key from the environment or a file, never from a flag', () => {
    expect(parse([], { BENCH_API_KEY: 'k' }).server.apiKey).toBe('k')
    expect(parse([], { BENCH_API_KEY: '' }).server.apiKey).toBeNull()
    const file = join(mkdtempSync(join(tmpdir(), 'bench-key-')), 'key')
    writeFileSync(file, 'from-file\n')
    expect(parse(['--api-key-file', file], { BENCH_API_KEY: 'k' }).server.apiKey).toBe('from-file')
    expect(failure(['--api-key', 'k']).exitCode).toBe(2)
  })

  it('refuses to be reachable from other machines without a key', () => {
    for (const host of ['0.0.0.0', '::', '10.0.0.1', 'example.org']) {
      expect(failure(['--host', host]).message).toContain('BENCH_API_KEY')
      expect(parse(['--host', host], { BENCH_API_KEY: 'k' }).server.host).toBe(host)
    }
    for (const host of ['127.0.0.1', '127.0.0.9', '::1', 'localhost']) expect(parse(['--host', host])).toBeTruthy()
  })
})
