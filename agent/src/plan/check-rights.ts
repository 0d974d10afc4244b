import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Session } from '../postgres/session.ts'
import { schemasOf, type SwapSet } from '../postgres/swap-set/swap-set.ts'

/** PostgreSQL 16 and newer tell apart who may use a role's rights and who may become it (SET ROLE, ALTER … OWNER TO). */
const SET_OPTION_SINCE = 160_000

/**
 * Every right that a swap needs and the agent's role lacks, all at once: CREATE on the database (schemas of our own) and
 * on the schemas of the tables (everything moves there and back), ownership of what moves and of what is made again, the
 * right to give a successor its owner, whom ALTER … OWNER TO asks for CREATE on the schema, tablespaces, and what keys
 * to tables outside ask for. Throws `permission-denied` with each of them as a detail.
 */
export async function checkSwapRights(session: Session, set: SwapSet): Promise<void> {
  const isSuperuser = (
    await session.query<{ is: boolean }>('select rolsuper as is from pg_catalog.pg_roles where rolname = current_user')
  )[0]?.is
  if (isSuperuser) return
  const findings = [
    ...(await schemaFindings(session, set)),
    ...(await ownerFindings(session, set)),
    ...(await remadeFindings(session, set)),
    ...(await keyFindings(session, set)),
    ...(await tablespaceFindings(session, set)),
  ]
  if (findings.length === 0) return
  throw new SyncError('permission-denied', `The agent's role lacks rights in "${session.database}" for a swap.`, {
    hint: 'grant what is named to the role of the agent: create on database or schema, or the owning role itself.',
    details: [...new Set(findings)],
  })
}

async function schemaFindings(session: Session, set: SwapSet): Promise<string[]> {
  const remade = set.remade.filter(({ kind }) => kind === 'view' || kind === 'function')
  const schemas = [...new Set([...schemasOf(set), ...remade.map(({ schema }) => schema)])]
  const rows = await session.query<{ finding: string }>(
    `select 'create on database ' || quote_ident(current_database()) || ' is missing' as finding
     where not has_database_privilege(current_database(), 'create')
     union all
     select 'create on schema ' || quote_ident(n.nspname) || ' is missing'
     from pg_catalog.pg_namespace n
     where n.nspname = any ($1::text[])
       and not (has_schema_privilege(n.oid, 'create') and has_schema_privilege(n.oid, 'usage'))`,
    [schemas],
  )
  return rows.map(({ finding }) => finding)
}

interface OwnerRow {
  what: string
  owner: string
  schema: string
  owns: boolean
  becomes: boolean
  ownerCreates: boolean
}

async function ownerFindings(session: Session, set: SwapSet): Promise<string[]> {
  const option = session.serverVersion >= SET_OPTION_SINCE ? 'set' : 'member'
  const rows = await session.query<OwnerRow>(
    `select o.what, pg_get_userbyid(o.owner)::text as owner, quote_ident(n.nspname) as schema,
            pg_has_role(o.owner, 'usage') as owns, pg_has_role(o.owner, '${option}') as becomes,
            o.owner = current_user::regrole or has_schema_privilege(o.owner, n.oid, 'create') as "ownerCreates"
     from (
       select case c.relkind when 'v' then 'view ' when 'm' then 'materialized view ' else 'table ' end
                || c.relname as what, c.relowner as owner, c.relnamespace as namespace
       from pg_catalog.pg_class c where c.oid = any ($1::oid[])
       union all
       select 'statistics ' || s.stxname, s.stxowner, s.stxnamespace
       from pg_catalog.pg_statistic_ext s where s.oid = any ($2::oid[])
     ) o join pg_catalog.pg_namespace n on n.oid = o.namespace
     order by 1`,
    [set.members.map(({ oid }) => oid), set.statistics.map(({ oid }) => oid)],
  )
  return rows.flatMap(({ what, owner, schema, owns, becomes, ownerCreates }) => {
    if (!owns) return [`${what} in ${schema} belongs to ${owner}, whose rights the agent's role does not have`]
    return [
      ...(becomes ? [] : [`role ${owner}, to which ${what} belongs, may not be set by the agent's role (SET option)`]),
      ...(ownerCreates ? [] : [`role ${owner}, to which ${what} belongs, lacks create on schema ${schema}`]),
    ]
  })
}

async function remadeFindings(session: Session, { remade }: SwapSet): Promise<string[]> {
  const rows = await session.query<{ owner: string; owns: boolean }>(
    `select r.rolname::text as owner, pg_has_role(r.oid, 'usage') as owns
     from pg_catalog.pg_roles r where r.rolname = any ($1::text[])`,
    [[...new Set(remade.map(({ owner }) => owner))]],
  )
  const others = new Set(rows.filter(({ owns }) => !owns).map(({ owner }) => owner))
  return remade
    .filter(({ owner }) => others.has(owner))
    .map(({ what, owner }) => `${what} belongs to ${owner}, whose rights the agent's role does not have`)
}

/**
 * Keys into the set are dropped from their tables and added again: the owner's right. Keys to tables outside ask for
 * REFERENCES there, their proof for SELECT, and the lock under which it holds for a right to write.
 */
async function keyFindings(session: Session, { keys }: SwapSet): Promise<string[]> {
  const oids = (side: 'inbound' | 'outbound'): number[] =>
    keys.filter((key) => key.side === side).map((key) => (side === 'inbound' ? key.tableOid : key.referencedOid))
  const rows = await session.query<{ finding: string }>(
    `select format('table %I.%I, whose key leads to these tables, belongs to %s', n.nspname, c.relname,
                   pg_get_userbyid(c.relowner)) as finding
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.oid = any ($1::oid[]) and not pg_has_role(c.relowner, 'usage')
     union
     select format('references, select and update on table %I.%I, to which a key of these tables leads, are not all there',
                   n.nspname, c.relname)
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.oid = any ($2::oid[]) and not (
       has_schema_privilege(n.oid, 'usage') and has_any_column_privilege(c.oid, 'references')
       and has_any_column_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'update, delete, truncate'))
     union
     select format('row security of table %I.%I, at the other end of a key, hides rows from the agent''s role', n.nspname, c.relname)
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.oid = any ($1::oid[] || $2::oid[]) and c.relrowsecurity and row_security_active(c.oid)
     order by 1`,
    [oids('inbound'), oids('outbound')],
  )
  return rows.map(({ finding }) => finding)
}

async function tablespaceFindings(session: Session, { members }: SwapSet): Promise<string[]> {
  const rows = await session.query<{ finding: string }>(
    `select distinct 'create on tablespace ' || quote_ident(t.spcname) || ' is missing' as finding
     from pg_catalog.pg_class c
     join pg_catalog.pg_tablespace t on t.oid = c.reltablespace
     where not has_tablespace_privilege(t.oid, 'create')
       and (c.oid = any ($1::oid[])
         or c.oid in (select x.indexrelid from pg_catalog.pg_index x where x.indrelid = any ($1::oid[])))
     order by 1`,
    [members.map(({ oid }) => oid)],
  )
  return rows.map(({ finding }) => finding)
}
