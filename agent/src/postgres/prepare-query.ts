import { createHash } from 'node:crypto'
import type { Session } from './session.ts'

/** What each session has prepared already. PREPARE is not undone by a rollback. */
const preparedBy = new WeakMap<Session, Set<string>>()

/**
 * Makes the server parse a query without parameters once in a session, and answers the statement that runs it. The first
 * plan is kept: planning one of the catalogue's long queries takes several times as long as running it on a small database.
 */
export async function prepareQuery(session: Session, sql: string): Promise<string> {
  const name = `multiboard_sync_${createHash('sha256').update(sql).digest('hex').slice(0, 16)}`
  const prepared = preparedBy.get(session) ?? new Set()
  preparedBy.set(session, prepared)
  if (!prepared.has(name)) {
    await session.run(`prepare ${name} as ${sql}`)
    prepared.add(name)
  }
  return `execute ${name}`
}

/**
 * The same, and plans now, so that nobody waits for the planning under our locks. Any change of pg_namespace, whosever
 * (CREATE SCHEMA, GRANT ON SCHEMA), makes the server forget its plans.
 */
export async function planQuery(session: Session, sql: string): Promise<string> {
  const execute = await prepareQuery(session, sql)
  await session.query(`explain ${execute}`)
  return execute
}
