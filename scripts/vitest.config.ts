import { existsSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { defineConfig } from 'vitest/config'

const RAM_DISK = '/dev/shm'
/** statfs(2)'s number for tmpfs. */
const TMPFS = 0x01021994
/** What the servers of one run take at most, several times over. */
const ENOUGH_BYTES = 6e9

const MATRIX = 'agent/test/matrix/**/*.test.ts'
/**
 * What a swap keeps, refuses and survives, crashes, outages and bad lines, the sample databases, and a store of another
 * make: too much for every day.
 */
const SWAP = [
  'agent/test/scenarios.test.ts',
  'agent/test/road-crash.test.ts',
  'agent/test/road-outage.test.ts',
  'agent/test/swap-!(stage-small).test.ts',
  'agent/test/{road-refusals-rows,postgres-round-trip}.test.ts',
  'agent/test/{feed*,network-!(jobs)}.test.ts',
  'agent/test/road-samples.test.ts',
  'agent/test/swift.test.ts',
]

/** Long runs against what may not be trusted: histories of crashes, connections and lines that are cut, forged orders. */
const TRUST = [
  'agent/test/network-jobs.test.ts',
  '{agent,control-plane}/test/trust-*.test.ts',
  'agent/test/{success,policy-pinned,keys,lease-thread}.test.ts',
  'control-plane/test/{bundle,ticket,replay,plans}.test.ts',
]

/** The search index: mapping, reindexing, and what a search server does wrong. */
const SEARCH = ['agent/test/search-*.test.ts', 'shared/test/typesense-*.test.ts']

/** What an operator does seldom: installing, upgrading and rolling back, looking for what is wrong, recovering from the bucket. */
const OPERATE = ['scripts/deploy/*.test.ts', 'agent/test/{recovery-*,doctor}.test.ts']

/**
 * A database is a thousand small files, and tests make hundreds of databases: in memory that takes a tenth of the time.
 * PostgreSQL's programs stay where they can be run.
 */
if (process.env['TMPDIR'] === undefined && existsSync(RAM_DISK)) {
  const { type, bavail, bsize } = statfsSync(RAM_DISK)
  if (type === TMPFS && bavail * bsize >= ENOUGH_BYTES) {
    process.env['NATIVE_POSTGRES_ROOT'] = tmpdir()
    process.env['TMPDIR'] = RAM_DISK
  }
}

/** Unit tests lie beside the code and need no server; tests that start servers lie under a package's test folder. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{agent,control-plane,shared}/src/**/*.test.ts', 'scripts/**/*.test.ts'],
          exclude: OPERATE,
        },
      },
      {
        test: {
          name: 'servers',
          include: ['{agent,control-plane,shared}/test/**/*.test.ts'],
          exclude: [MATRIX, ...SWAP, ...SEARCH, ...TRUST, ...OPERATE],
          globalSetup: ['shared/testing/global-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // Two cores, and many tests that wait for a lease or a lock: the third file works while another waits.
          maxWorkers: 3,
        },
      },
      {
        test: {
          name: 'swap',
          include: SWAP,
          globalSetup: ['shared/testing/global-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: 3,
        },
      },
      {
        test: {
          name: 'search',
          include: SEARCH,
          globalSetup: ['shared/testing/global-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: 3,
        },
      },
      {
        test: {
          name: 'trust',
          include: TRUST,
          globalSetup: ['shared/testing/global-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: 3,
        },
      },
      {
        test: {
          name: 'operate',
          include: OPERATE,
          globalSetup: ['shared/testing/global-setup.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          maxWorkers: 2,
        },
      },
      {
        // Minutes of crashes, run apart from the rest.
        test: {
          name: 'matrix',
          include: [MATRIX],
          globalSetup: ['shared/testing/global-setup.ts', 'agent/test/matrix/tally.ts'],
          testTimeout: 240_000,
          hookTimeout: 120_000,
          maxWorkers: 3,
        },
      },
    ],
  },
})
