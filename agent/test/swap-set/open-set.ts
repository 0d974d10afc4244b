import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import type pg from 'pg'
import { openSession, type Session } from '../../src/postgres/session.ts'
import { readSwapSet } from '../../src/postgres/swap-set/read-swap-set.ts'
import type { SwapSet } from '../../src/postgres/swap-set/swap-set.ts'

export interface SetOfTest extends AsyncDisposable {
  database: TestDatabase
  session: Session
  client: pg.Client
  /** The set of tables given as `schema.table`. */
  read(...tables: string[]): Promise<SwapSet>
  readOids(oids: number[]): Promise<SwapSet>
}

/** A database with these definitions, and a session to read sets with. */
export async function openSet(sql: string): Promise<SetOfTest> {
  const database = await createDatabase({ sql })
  const client = await database.client()
  const { signal } = new AbortController()
  const url = { name: 'target', url: database.url, viaProxy: false }
  const session = await openSession(url, { purpose: 'test', signal })
  return {
    database,
    session,
    client,
    read: async (...tables) => await readSwapSet(session, await oidsOf(session, tables)),
    readOids: async (oids) => await readSwapSet(session, oids),
    [Symbol.asyncDispose]: async () => {
      await session.close()
      await database[Symbol.asyncDispose]()
    },
  }
}

export async function oidsOf(session: Session, tables: string[]): Promise<number[]> {
  const rows = await session.query<{ oid: number }>(
    `select u.name::regclass::oid::int8::float8 as oid from unnest($1::text[]) as u(name)`,
    [tables],
  )
  return rows.map(({ oid }) => oid)
}

/** `app.a r 0`: name, kind and component of each member, in the set's order. */
export function membersOf(set: SwapSet): string[] {
  return set.members.map(({ schema, name, kind, component }) => `${schema}.${name} ${kind} ${component}`)
}

/** `in-place: public.kid inherits from …`. */
export function findingsOf(set: SwapSet): string[] {
  return set.findings.map(({ effect, text }) => `${effect}: ${text}`)
}

export function remadeOf(set: SwapSet): string[] {
  return set.remade.map(({ what }) => what)
}
