import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: [
      'test/browser/**',
      'test/load/truth.test.ts',
      'test/target/cache-probe-engine.test.ts',
      'node_modules/**',
    ], // vitest.timing.config.ts has them
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 2,
  },
})
