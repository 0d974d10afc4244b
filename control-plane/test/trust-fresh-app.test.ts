import { describe } from 'vitest'

/**
 * The main flows once more, each request answered by an app and a pool of its own: nothing is kept in memory between
 * requests. The whole suite runs so with `pnpm test-serverless`.
 */
process.env['FRESH_APP'] = '1'

describe('with a new app for each request', async () => {
  await import('./road.test.ts')
  await import('./report.test.ts')
  await import('./ticket.test.ts')
})
