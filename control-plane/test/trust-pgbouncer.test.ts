import { findPgBouncer } from '@multiboard-sync/shared/testing/pgbouncer'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { startSurroundings } from './surroundings.ts'
import { startControlPlane } from '../src/start-control-plane.ts'

/** The main flows once more, through PgBouncer in transaction mode. The whole suite runs so with `pnpm test-serverless`. */
const found = await findPgBouncer()
if ('reason' in found) console.warn(`Skipped: ${found.reason}`)
else process.env['PGBOUNCER'] = '1'

describe.skipIf('reason' in found)('G15: behind a transaction pooler', async () => {
  test('G15: the pooler of these tests is one: what a session keeps does not last there', async () => {
    let url = ''
    await using _ = await startSurroundings(
      {},
      {
        start: async (options) => {
          url = options.databaseUrl
          return await startControlPlane(options)
        },
      },
    )
    const clients = [1, 2].map(() => new pg.Client({ connectionString: url }))
    const [one, other] = clients
    if (!one || !other) throw new Error('two clients were made')
    try {
      for (const client of clients) await client.connect()
      const pidOf = async (client: pg.Client): Promise<unknown> =>
        (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid
      const pid = await pidOf(one)
      await other.query('begin')
      expect(await pidOf(other)).toBe(pid)
      expect(await pidOf(one)).not.toBe(pid)
      await other.query('rollback')
    } finally {
      for (const client of clients) await client.end()
    }
  })

  if (!('reason' in found)) {
    await import('./road.test.ts')
    await import('./report.test.ts')
    await import('./ticket.test.ts')
  }
})
