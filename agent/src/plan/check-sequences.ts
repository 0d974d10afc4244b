import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { splitEntries } from '../postgres/dump-entries.ts'
import { readSequences } from '../postgres/sequences.ts'
import type { Session } from '../postgres/session.ts'

/**
 * Sequences that no table owns are given values only by their owner. Throws `permission-denied` with each of the archive's
 * (`text` is its section of them) that belongs to somebody else here.
 */
export async function checkSequences(session: Session, text: string): Promise<void> {
  const archived = new Set(splitEntries(text).entries.map((entry) => formatTableName(entry)))
  const free = (await readSequences(session)).filter(
    // pg_dump's headers have blanks for line ends.
    (one) => one.tableOid === null && archived.has(formatTableName(one).replaceAll(/[\r\n]/g, ' ')),
  )
  const rows = await session.query<{ name: string; owner: string }>(
    `select c.oid::regclass::text as name, pg_get_userbyid(c.relowner)::text as owner
     from pg_catalog.pg_class c where c.oid = any ($1::oid[]) and not pg_has_role(c.relowner, 'usage') order by 1`,
    [free.map(({ oid }) => oid)],
  )
  if (rows.length === 0) return
  throw new SyncError('permission-denied', `The agent's role may not set all sequences of "${session.database}".`, {
    hint: "Make the agent's role a member of the role that owns them, or name the tables to be copied: then they stay.",
    details: rows.map(({ name, owner }) => `sequence ${name} belongs to ${owner}`),
  })
}
