import { defineConfig } from 'vitest/config'

/** What compares clocks, to a fifth of a millisecond or a third of a short prompt's time, has the machine for itself: after the other tests, one file at a time. */
export default defineConfig({
  test: {
    include: ['test/load/truth.test.ts', 'test/target/cache-probe-engine.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 1,
    retry: 2, // what else the machine does for a moment is not the client's error; what is, fails three times
  },
})
