import { expect, test } from 'vitest'
import { prefixCounters } from '../../src/metrics/prefix-counters.js'

test.each([
  { name: 'vLLM', prefix: 'vllm:prefix_cache_', suffix: '_total' },
  { name: 'an older exporter', prefix: 'vllm:prefix_cache_', suffix: '' },
  { name: 'our own engines', prefix: 'pagedbench:prefix_cache_', suffix: '_total' },
])('reads the prefix counters of $name, summed over label sets', ({ prefix, suffix }) => {
  const text = [
    `# TYPE ${prefix}queries counter`,
    `${prefix}queries${suffix}{engine="0",model_name="a b"} 1000.0`,
    `${prefix}queries${suffix}{engine="1",model_name="a b"} 500.0`,
    `${prefix}queries_created{engine="0"} 1.7e+09`,
    `${prefix}hits${suffix}{engine="0",model_name="a b"} 2.5e+02`,
    `${prefix}hits${suffix}{engine="1",model_name="a b"} 0.0`,
  ].join('\n')
  expect(prefixCounters(text)).toEqual({ lookedUp: 1500, found: 250 })
})

test('is null where there are none, or only one of the two', () => {
  expect(prefixCounters('llamacpp:prompt_tokens_total 9\n')).toBeNull()
  expect(prefixCounters('vllm:prefix_cache_queries_total 9\n')).toBeNull()
  expect(prefixCounters('')).toBeNull()
})
