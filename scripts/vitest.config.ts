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
          // Two cores, and many tests that wait for a lease or a lock: the third file works while another waits.
          maxWorkers: 3,
        },
      },
    ],
  },
})
