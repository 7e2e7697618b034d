import { defineConfig } from 'vitest/config'

/** What needs a Chromium: run by `npm run test:browser`, apart from the plain tests. */
export default defineConfig({
  test: { include: ['test/browser/**/*.test.ts'], testTimeout: 120_000, pool: 'forks', maxWorkers: 1 },
})
