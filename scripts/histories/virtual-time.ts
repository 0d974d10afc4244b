import pg from 'pg'

import type { Database, Queries } from '../../control-plane/src/store/open-database.ts'
import type { Saboteur } from './sabotage.ts'

/*
 * PostgreSQL with a clock of ours. All SQL of the control plane and of the agent says now() and clock_timestamp() without a
 * schema, so a schema that comes before pg_catalog in the search path decides what they answer: a setting of the
 * connection, which is set before each statement.
 */

export const FAKE_TIME_SQL = `
  create schema if not exists fake;
  create or replace function fake.now() returns timestamptz language sql stable
    as $$ select pg_catalog.current_setting('fake.now')::timestamptz $$;
  create or replace function fake.clock_timestamp() returns timestamptz language sql volatile
    as $$ select pg_catalog.current_setting('fake.now')::timestamptz $$;
`
/** Nothing runs beside a history: whoever has to wait for a lock waits for a transaction that is frozen. */
const LOCK_TIMEOUT_MS = 1
const FIRST_SHOWN = 'fake.now=1970-01-01'

export async function connectVirtual(url: string): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: url,
    options: `-c search_path=fake,pg_catalog -c ${FIRST_SHOWN} -c lock_timeout=${LOCK_TIMEOUT_MS} -c jit=off`,
  })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

/** SQL that shows a time to the statements that follow. */
export function showTime(nowMs: number): string {
  return `set fake.now = '${new Date(nowMs).toISOString()}'`
}

/** The control plane's database with the history's clock. One connection: its requests come one after the other. */
export function openVirtualDatabase(client: pg.Client, nowMs: () => number, saboteur: Saboteur): Database {
  let shownMs = Number.NaN
  const show = async (): Promise<void> => {
    if (shownMs === nowMs()) return
    shownMs = nowMs()
    await client.query(showTime(shownMs))
  }
  const query: Queries['query'] = async <Row extends object>(sql: string, values: readonly unknown[] = []) =>
    saboteur.afterwards(sql, (await client.query<Row>(saboteur.rewrite(sql), [...values])).rows)
  return {
    query: async <Row extends object>(sql: string, values?: readonly unknown[]) => {
      if (sql.includes('now()')) await show()
      return await query<Row>(sql, values)
    },
    transaction: async (work) => {
      shownMs = nowMs()
      await client.query(`${showTime(shownMs)}; begin`)
      try {
        const result = await work({ query })
        await client.query('commit')
        return result
      } catch (error) {
        await client.query('rollback')
        throw error
      }
    },
    [Symbol.asyncDispose]: async () => await client.end(),
  }
}
