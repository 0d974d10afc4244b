import pg from 'pg'

import { takeFence } from '../../agent/src/restore/receipt.ts'
import { openDatabase } from '../../control-plane/src/store/open-database.ts'
import { migrate } from '../../control-plane/src/store/migrate.ts'
import { createClientPool, type ClientPool } from './client-pool.ts'
import { agentPolicy } from './policy.ts'
import { connectVirtual, FAKE_TIME_SQL } from './virtual-time.ts'

/** Databases on which one history runs after another: the control plane's, and one for each target. */
export interface Lane extends AsyncDisposable {
  control: pg.Client
  targets: ReadonlyMap<string, { url: string; pool: ClientPool }>
  /** Forgets the history before. */
  clear(): Promise<void>
  vacuum(): Promise<void>
}

const TARGETS = ['t1', 't2'] as const
const AGENTS = ['a', 'b', 'c']
/** What an old backup of the control plane holds. */
export const BACKED_UP = ['jobs', 'events', 'target_fences'] as const

/** `urlOf` gives the URL of a database that is there and empty. */
export async function openLane(urlOf: (name: 'control' | 't1' | 't2') => string): Promise<Lane> {
  await using opened = new AsyncDisposableStack()
  const control = await prepareControlPlane(urlOf('control'))
  opened.defer(async () => await control.end())
  const targets = new Map<string, { url: string; pool: ClientPool }>()
  for (const target of TARGETS) {
    const url = urlOf(target)
    const pool = opened.use(createClientPool(url))
    await prepareTarget(pool, target)
    targets.set(target, { url, pool })
  }
  const resources = opened.move()
  return {
    control,
    targets,
    vacuum: async () => void (await control.query('vacuum multiboard.agents, multiboard.jobs, multiboard.events')),
    clear: async () => {
      await control.query(
        `delete from multiboard.events; delete from multiboard.jobs; delete from multiboard.target_fences;
         delete from multiboard.rate_limits`,
      )
      for (const { pool } of targets.values()) {
        const client = await pool.take()
        await client.query(
          `delete from multiboard_sync.fence; delete from multiboard_sync.receipts; delete from public.effects;
           update public.live set job = null, fence = 0`,
        )
        await pool.giveBack(client)
      }
    },
    [Symbol.asyncDispose]: async () => await resources.disposeAsync(),
  }
}

async function prepareControlPlane(url: string): Promise<pg.Client> {
  const before = new pg.Client(url)
  await before.connect()
  const name = before.database
  await before.query(FAKE_TIME_SQL)
  // The columns' defaults are bound to the now() that is found when the tables are made.
  await before.query(`alter database ${pg.escapeIdentifier(name ?? '')} set search_path = fake, pg_catalog`)
  await before.query(`alter database ${pg.escapeIdentifier(name ?? '')} set fake.now = '2026-01-02'`)
  await before.end()
  const database = openDatabase(url, () => undefined)
  await migrate(database)
  await database[Symbol.asyncDispose]()
  const client = await connectVirtual(url)
  for (const agent of AGENTS) {
    await client.query(
      'insert into multiboard.agents (id, public_jwk, key_thumbprint, policy, last_seen_at) values ($1, $2, $3, $4, now())',
      [agent, '{}', agent, JSON.stringify(agentPolicy.view)],
    )
  }
  await client.query('create schema backup')
  for (const table of BACKED_UP) {
    await client.query(`create table backup.${table} as table multiboard.${table} with no data`)
  }
  return client
}

async function prepareTarget(pool: ClientPool, target: string): Promise<void> {
  const client = await pool.take()
  await client.query(FAKE_TIME_SQL)
  await client.query(`
    create table public.live (target text primary key, job text, fence bigint not null default 0);
    create table public.effects (
      n bigint generated always as identity, target text not null, job text not null, epoch int not null, fence bigint not null
    )
  `)
  await client.query('insert into public.live (target) values ($1)', [target])
  await client.query('begin')
  const session = {
    query: async <Row extends object>(sql: string, values: unknown[] = []) =>
      (await client.query<Row>(sql, values)).rows,
    run: async (sql: string) => void (await client.query(sql)),
  }
  // Makes fence and receipts as the agent makes them.
  await takeFence(session as Parameters<typeof takeFence>[0], { job: 'j000000000000', fence: 1, target })
  await client.query('commit')
  await pool.giveBack(client)
}
