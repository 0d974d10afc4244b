import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import { storedColumns } from '../../postgres/catalog.ts'
import { quoteIdent, quoteTable } from '../../postgres/quote.ts'
import type { DatabaseUrl, Session } from '../../postgres/session.ts'
import { inSessions } from '../in-sessions.ts'
import { runTogether } from '../run-together.ts'
import { createAside, inAside, type Aside } from '../stage/aside.ts'
import type { Pair } from './row-sql.ts'

/**
 * Makes the stage in one transaction: for each table one of the archive's columns in the live types, bare of constraints,
 * defaults and indexes, and unlogged: a server that crashes has ended the job anyway. Locks nothing that readers or
 * writers wait for.
 */
export async function makeTables(session: Session, stage: Aside, tables: ArchivedTable[]): Promise<void> {
  try {
    await session.run('begin')
    await createAside(session, stage)
    await runTogether(
      session,
      tables.map((table) => {
        const columns = storedColumns(table.columns).map(({ name }) => quoteIdent(name))
        // Vacuum would hold a lock that an index has to wait for.
        return `create unlogged table ${quoteTable(inAside(stage, table))} with (autovacuum_enabled = off)
          as select ${columns.join(', ')} from only ${quoteTable(table)} with no data`
      }),
    )
    await session.run('commit')
  } catch (error) {
    await session.run('rollback').catch(() => session.destroy())
    throw error
  }
}

/**
 * Gives the staged tables the live ones' primary keys, under their names, and the planner its numbers. Throws
 * `constraint-violated` when the archive has a key twice by the target's rules.
 */
export async function keyTables(
  database: DatabaseUrl,
  pairs: Pair[],
  keyNames: Map<number, string>,
  options: { connections: number; signal: AbortSignal },
): Promise<void> {
  await inSessions(database, { ...options, purpose: 'stage' }, pairs, async (session, { oid, stage, key }) => {
    const columns = key.map(({ name }) => quoteIdent(name)).join(', ')
    const name = quoteIdent(keyNames.get(oid) ?? stage.name)
    await session.run(`alter table ${quoteTable(stage)} add constraint ${name} primary key (${columns})`)
    await session.run(`analyze ${quoteTable(stage)}`)
  })
}
