import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { Session } from '../session.ts'
import type { DependencyFinding } from './swap-set.ts'

type Kind = keyof typeof texts

interface Row {
  kind: Kind
  schema: string
  name: string
  other: string
}

/** What forbids a swap and is no dependant: a thing of the members themselves, or what pg_depend does not know. */
export async function unlistedFindings(session: Session, memberOids: number[]): Promise<DependencyFinding[]> {
  const rows = await session.query<Row>(unlistedSql(session.serverVersion), [memberOids])
  return rows.map(({ kind, schema, name, other }) => {
    const { effect, text } = texts[kind]
    return { effect, text: text(formatTableName({ schema, name }), other) }
  })
}

type Text = (table: string, other: string) => string

const texts = {
  'publication-table': { effect: 'in-place', text: (table, other) => `publication ${other} publishes ${table}` },
  'publication-schema': {
    effect: 'in-place',
    text: (table, other) => `publication ${other} publishes all tables of the schema of ${table}`,
  },
  'publication-all': { effect: 'refused', text: (_, other) => `publication ${other} publishes all tables` },
  subscription: { effect: 'refused', text: (table, other) => `subscription ${other} writes ${table}` },
  extension: { effect: 'refused', text: (table, other) => `${table} belongs to extension ${other}` },
  'foreign-table': { effect: 'refused', text: (table) => `${table} is a foreign table` },
  temporary: { effect: 'refused', text: (table) => `${table} is a temporary table` },
  'invalid-index': {
    effect: 'refused',
    text: (table, other) => `index ${other} of ${table} is invalid; REINDEX or DROP it`,
  },
  'security-label': { effect: 'refused', text: (table) => `${table} has a security label` },
  'row-security': {
    effect: 'refused',
    text: (table) => `row security of ${table} applies to the agent's role, which would see a part of its rows only`,
  },
  grantor: {
    effect: 'in-place',
    text: (table, other) => `a privilege on ${table} was granted by ${other}, who does not own it`,
  },
  'trigger-from': {
    effect: 'in-place',
    text: (table, other) => `trigger ${other} of ${table} is a constraint trigger from a table that is not replaced`,
  },
  slot: {
    effect: 'in-place',
    text: (table, other) => `logical replication slot ${other} would decode the rows of ${table} under another name`,
  },
  'names-in-rows': {
    effect: 'in-place',
    text: (table, other) =>
      `column ${other} of ${table} holds names of tables or types, and would go on naming the old ones`,
  },
  'key-trigger': {
    effect: 'in-place',
    text: (table, other) => `constraint ${other} of ${table} is not enforced: its triggers are disabled`,
  },
} as const satisfies Record<string, { effect: DependencyFinding['effect']; text: Text }>

/** `member`: the relations of the set. `part`: they and their owned sequences. */
function unlistedSql(version: number): string {
  const queries = [
    `select 'publication-table' as kind, m.schema, m.name, p.pubname::text as other
     from member m join pg_publication_rel r on r.prrelid = m.oid join pg_publication p on p.oid = r.prpubid`,
    `select 'publication-all', m.schema, m.name, p.pubname::text
     from pg_publication p cross join lateral (select * from member where kind in ('r', 'p') order by schema, name limit 1) m
     where p.puballtables`,
    // pg_subscription itself may be read in part only, before 14 without its OID.
    `select distinct 'subscription', m.schema, m.name, s.subname::text
     from member m join pg_subscription_rel r on r.srrelid = m.oid join pg_stat_subscription s on s.subid = r.srsubid`,
    `select 'extension', m.schema, m.name, e.extname::text
     from member m
     join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = m.oid and d.objsubid = 0 and d.deptype = 'e'
     join pg_extension e on d.refclassid = 'pg_extension'::regclass and e.oid = d.refobjid`,
    `select 'foreign-table', schema, name, '' from member where kind = 'f'`,
    `select 'temporary', schema, name, '' from member where persistence = 't'`,
    // Of a partitioned table it is invalid as long as a partition has no index for it, which a dump carries.
    `select 'invalid-index', m.schema, m.name, c.relname::text
     from member m join pg_index x on x.indrelid = m.oid join pg_class c on c.oid = x.indexrelid
     where c.relkind = 'i' and not (x.indisvalid and x.indisready and x.indislive)`,
    `select distinct 'security-label', p.schema, p.name, ''
     from part p
     where exists (select from pg_seclabel l
                   where (l.classoid = 'pg_class'::regclass and l.objoid = p.part)
                      or (l.classoid = 'pg_type'::regclass and l.objoid = p.reltype and p.reltype <> 0))`,
    `select 'row-security', schema, name, '' from member
     where kind in ('r', 'p') and relrowsecurity and row_security_active(oid)`,
    `select distinct 'grantor', p.schema, p.name, pg_get_userbyid(a.grantor)::text
     from part p
     cross join lateral (select p.relacl as acl
                         union all
                         select t.attacl from pg_attribute t
                         where t.attrelid = p.part and t.attnum > 0 and not t.attisdropped) as u
     cross join lateral aclexplode(u.acl) as a
     where a.grantor <> p.relowner
       and not (select r.rolsuper from pg_roles r where r.rolname = current_user)`,
    `select 'trigger-from', m.schema, m.name, t.tgname::text
     from member m join pg_trigger t on t.tgrelid = m.oid
     where not t.tgisinternal and t.tgconstrrelid <> 0 and t.tgconstrrelid <> all($1::oid[])`,
    // What is not pgoutput knows no publications: it decodes every table, by the name that it has when it is written.
    `select 'slot', m.schema, m.name, r.slot_name::text
     from pg_replication_slots r cross join lateral (select * from member where kind in ('r', 'p') order by schema, name limit 1) m
     where r.slot_type = 'logical' and r.database = current_database() and r.plugin <> 'pgoutput'`,
    // Values that are OIDs of relations or row types are looked up as they are loaded: while the old ones have the names.
    `select 'names-in-rows', m.schema, m.name, a.attname::text
     from member m join pg_attribute a on a.attrelid = m.oid
     where m.kind in ('r', 'p', 'm') and a.attnum > 0 and not a.attisdropped and a.atttypid in (select oid from naming)`,
    // DISABLE TRIGGER ALL. No dump tells it, and a constraint that is made again is enforced.
    `select distinct 'key-trigger', n.nspname::text, c.relname::text, k.conname::text
     from pg_constraint k
     join pg_trigger t on t.tgconstraint = k.oid and t.tgisinternal and t.tgenabled <> 'O'
     join pg_class c on c.oid = k.conrelid
     join pg_namespace n on n.oid = c.relnamespace
     where k.contype in ('f', 'u', 'p', 'x') and n.nspname !~ '^multiboard_sync'
       and (k.conrelid in (select oid from member) or k.confrelid in (select oid from member))`,
    ...(version >= 150_000
      ? [
          `select distinct on (p.pubname, m.schema) 'publication-schema', m.schema, m.name, p.pubname::text
           from member m join pg_publication_namespace s on s.pnnspid = m.relnamespace
           join pg_publication p on p.oid = s.pnpubid
           where m.kind in ('r', 'p')`,
        ]
      : []),
  ]
  return `
with recursive naming as (
  select unnest(array['regclass'::regtype, 'regtype'::regtype])::oid as oid
  union
  select t.oid
  from naming g
  cross join lateral (
    select t.oid from pg_type t where t.typbasetype = g.oid or (t.typelem = g.oid and t.typcategory = 'A')
    union all
    select r.rngtypid from pg_range r where r.rngsubtype = g.oid
    union all
    select c.reltype
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where a.atttypid = g.oid and a.attnum > 0 and not a.attisdropped and c.reltype <> 0
      and c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
  ) as t
),
member as materialized (
  select c.oid, c.relnamespace, c.relowner, c.relacl, c.reltype, c.relrowsecurity, c.relkind::text as kind,
         c.relpersistence as persistence, n.nspname::text as schema, c.relname::text as name
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.oid = any($1::oid[])
),
part as materialized (
  select m.schema, m.name, m.oid as part, m.relowner, m.relacl, m.reltype from member m
  union all
  select m.schema, m.name, s.oid, s.relowner, s.relacl, 0
  from member m
  join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = m.oid and d.refobjsubid > 0
    and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
  join pg_class s on s.oid = d.objid and s.relkind = 'S'
)
select * from (${queries.map((query) => `(${query})`).join('\nunion all\n')}) as f
order by kind, schema collate "C", name collate "C", other collate "C"`
}
