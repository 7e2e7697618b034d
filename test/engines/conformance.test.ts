import { describeEngine } from '../suites/engine.js'

describeEngine('static literal', { engine: 'static', staticVariant: 'literal' })
describeEngine('static generous, graphs, a step ahead', {
  engine: 'static',
  staticVariant: 'generous',
  depth: 1,
  buckets: [1, 2, 4, 8],
})
describeEngine('static literal, graphs, a step ahead', { engine: 'static', depth: 1, buckets: [8] })
describeEngine('paged, eager', {})
describeEngine('paged, graphs', { buckets: [1, 2, 4, 8, 16] })
describeEngine('paged, a step ahead', { depth: 1 })
describeEngine('paged, graphs, a step ahead, short of memory, bf16', {
  depth: 1,
  buckets: [4, 12, 16],
  kvTokens: 512,
  dtype: 'bf16',
})
describeEngine('paged, unfused kernels, no prefix cache, whole prompts', {
  fusedKernels: false,
  enablePrefixCaching: false,
  enableChunkedPrefill: false,
  maxNumBatchedTokens: 256,
})
