import { userSchemas } from '../postgres/catalog.ts'
import type { Session } from '../postgres/session.ts'

/*
 * The rights that some job would miss, as they can be known before there is a job: all at once, as clauses for people. What
 * one job needs is asked again by its plan, which knows more (check-rights.ts).
 */

/** An export reads every table and sequence, and LOCK TABLE … ACCESS SHARE asks for SELECT (PostgreSQL docs, LOCK). */
export async function missingToRead(session: Session): Promise<string[]> {
  const rows = await session.query<{ finding: string }>(
    `select format('usage on schema %I is missing', n.nspname) as finding
     from pg_catalog.pg_namespace n
     where ${userSchemas} and not has_schema_privilege(n.oid, 'usage')
       and exists (select from pg_catalog.pg_class c where c.relnamespace = n.oid and c.relkind in ('r', 'p', 'S'))
     union all
     (select format('select on %s %I.%I is missing', case c.relkind when 'S' then 'sequence' else 'table' end,
                   n.nspname, c.relname)
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where ${userSchemas} and case c.relkind
         when 'S' then not has_sequence_privilege(c.oid, 'select')
         when 'r' then not has_table_privilege(c.oid, 'select')
         when 'p' then not has_table_privilege(c.oid, 'select')
         else false end
     order by 1)`,
  )
  return rows.map(({ finding }) => finding)
}

/** Every engine wants the owner's rights on what it changes, and a swap moves tables out of their schema and into it. */
export async function missingToChange(session: Session, oids: number[]): Promise<string[]> {
  const rows = await session.query<{ finding: string }>(
    `select 'create on database ' || quote_ident(current_database()) || ' is missing' as finding
     where not has_database_privilege(current_database(), 'create')
     union all
     (select distinct format('create and usage on schema %I are not both there', n.nspname)
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.oid = any ($1::oid[])
       and not (has_schema_privilege(n.oid, 'create') and has_schema_privilege(n.oid, 'usage'))
     order by 1)
     union all
     (select format('table %I.%I belongs to %s, whose rights the agent''s role does not have', n.nspname, c.relname,
                   pg_get_userbyid(c.relowner))
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.oid = any ($1::oid[]) and not pg_has_role(c.relowner, 'usage')
     order by 1)
     union all
     select format('the schema multiboard_sync, with the receipts, belongs to %s, whose rights the agent''s role does not have',
                   pg_get_userbyid(n.nspowner))
     from pg_catalog.pg_namespace n where n.nspname = 'multiboard_sync' and not pg_has_role(n.nspowner, 'usage')`,
    [oids],
  )
  return rows.map(({ finding }) => finding)
}
