import { defineConfig } from 'vitest/config'

/** Unit tests lie beside the code and need no server; tests that start servers lie under a package's test folder. */
export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['{agent,control-plane,shared}/src/**/*.test.ts'] } },
      {
        test: {
          name: 'servers',
          include: ['{agent,control-plane,shared}/test/**/*.test.ts'],
          globalSetup: ['shared/testing/global-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // Two cores: two files at a time keeps both busy; more only makes every deadline wait longer.
          maxWorkers: 2,
        },
      },
    ],
  },
})
