import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { userSchemas } from './catalog.ts'
import type { Session } from './session.ts'

type BlockerKind =
  | 'large-objects'
  | 'publication'
  | 'subscription'
  | 'foreign-table'
  | 'forced-row-security'
  | 'invalid-index'
  | 'prepared-transaction'
  | 'event-trigger'
  | 'security-label'

/** Something that a dump does not carry, or that stands in the way of changing a database. */
export interface Blocker {
  kind: BlockerKind
  /** `schema.table` for tables, `schema.index` for indexes; the object's name for others. */
  name: string
  /** A clause for people, without a full stop. */
  reason: string
}

/** Every one that the catalogue knows of; which of them matter is the plan's decision. */
export async function readBlockers(session: Session): Promise<Blocker[]> {
  const rows = await session.query<{ kind: BlockerKind; schema: string | null; name: string }>(blockersSql)
  return rows.map(({ kind, schema, name }) => ({
    kind,
    name: schema === null ? name : formatTableName({ schema, name }),
    reason: reasons[kind],
  }))
}

const reasons: Readonly<Record<BlockerKind, string>> = {
  'large-objects': 'large objects are not part of any table and are not copied',
  publication: 'it publishes all tables, so that tables made on the way would reach its subscribers',
  subscription: 'the tables of this database are written by replication',
  'foreign-table': 'its rows are on another server and are not copied',
  'forced-row-security': "row security applies to the agent's role, which would see a part of the rows only",
  'invalid-index': 'a concurrent build of it has failed or is under way, and dumps leave it out',
  'prepared-transaction': 'a prepared transaction holds locks until somebody ends it',
  'event-trigger': 'it runs for every definition that is made or changed',
  'security-label': 'security labels need their provider on the target',
}

/** pg_subscription's columns are readable for all but the connection string. */
const blockersSql = `
select 'large-objects' as kind, null::text as schema, count(*) || ' large objects' as name
from pg_largeobject_metadata having count(*) > 0
union all
select 'publication', null, pubname::text from pg_publication where puballtables
union all
select 'subscription', null, s.subname::text
from pg_subscription s join pg_database d on d.oid = s.subdbid where d.datname = current_database()
union all
select 'foreign-table', n.nspname::text, c.relname::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'f' and ${userSchemas}
union all
select 'forced-row-security', n.nspname::text, c.relname::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and c.relrowsecurity and row_security_active(c.oid) and ${userSchemas}
union all
select 'invalid-index', n.nspname::text, c.relname::text
from pg_index x join pg_class c on c.oid = x.indexrelid join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'i' and not (x.indisvalid and x.indisready) and ${userSchemas}
union all
select 'prepared-transaction', null, gid from pg_prepared_xacts where database = current_database()
union all
select 'event-trigger', null, t.evtname::text from pg_event_trigger t
where t.evtenabled <> 'D'
  and not exists (select from pg_depend e where e.classid = 'pg_event_trigger'::regclass and e.objid = t.oid and e.deptype = 'e')
union all
select 'security-label', null, objtype || ' ' || objname from pg_seclabels
where objtype not in ('database', 'role', 'tablespace')
order by kind, schema, name`
