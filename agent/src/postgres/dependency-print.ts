import { planQuery } from './prepare-query.ts'
import { notBookkeeping, schemaContents } from './schema-contents.ts'
import type { Session } from './session.ts'

/*
 * Who points at what, as text: what a fingerprint of definitions cannot tell, because a view over another table of the same
 * name has the same text as before it was moved and another meaning after.
 *
 * Promises: a hash of the names at both ends of every row of pg_depend, and of its kind; the same after everything was made
 * again. Left out: what lies in our own and in temporary schemas, TOAST, and the bookkeeping of constraints, whose names
 * the server makes up. Pointing INTO those schemas is not left out. Sees the session's own uncommitted changes.
 */

export interface PreparedDependencyPrint {
  readonly read: () => Promise<string>
}

/** Planned now, so that reading under locks takes the time of the reading alone. Answers hex and the count of lines. */
export async function prepareDependencyPrint(session: Session): Promise<PreparedDependencyPrint> {
  const execute = await planQuery(session, `${linesSql} ${hashed}`)
  return {
    read: async () => {
      const [row] = await session.query<{ print: string }>(execute)
      if (row === undefined) throw new Error('an aggregate answers one row')
      return row.print
    },
  }
}

/** The lines behind the hash, sorted by bytes: to name differences. */
export async function readDependencyLines(session: Session): Promise<string[]> {
  const rows = await session.query<{ line: string }>(`${linesSql} select line from lines order by line collate "C"`)
  return rows.map(({ line }) => line)
}

/** Objects below 16384 came with the server; what they point at cannot change. */
const linesSql = `
with ${schemaContents('apart', `n.nspname ~ '^(multiboard_sync|pg_temp_|pg_toast)'`)},
lines as (
  select distinct pg_catalog.concat_ws(' ', pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid), d.deptype,
           pg_catalog.pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)) as line
  from pg_catalog.pg_depend d
  where d.objid >= 16384 and (d.classid, d.objid) not in (select classid, objid from apart) and ${notBookkeeping}
)`

const hashed = `
select encode(sha256(convert_to(coalesce(string_agg(line, E'\\n' order by line collate "C"), ''), 'UTF8')), 'hex')
       || ' ' || count(*) as print
from lines`
