import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { prepareQuery } from './prepare-query.ts'
import { preparedRead, type PreparedRead } from './query-all.ts'
import { quoteLiteral } from './quote.ts'
import { notBookkeeping, notForeignKey, relationContents, schemaContents } from './schema-contents.ts'
import type { Session } from './session.ts'

/*
 * Who still points where after relations have changed places. A comparison of definitions cannot see it: a view over the
 * previous table has the text of a view over the new one.
 *
 * Promises: by OID, over all of pg_depend whatever the kind of dependency, and over what is not in pg_depend; sees the
 * session's own uncommitted changes; an empty list is the only good answer. Never: locks, or reads a row of a user's table.
 */

/**
 * Everything that is not in these schemas and points to something in them, and every foreign key that crosses the border
 * in either direction. Each is a clause: `view public.v points to table stage.a`. Rows of publications and
 * subscriptions are among them. Texts of functions are not: they name, and do not point.
 */
export async function findLeaks(session: Session, schemas: string[]): Promise<string[]> {
  return await readLines(session, await prepareQuery(session, leaksSql(schemas)))
}

/**
 * Whether findLeaks() has to be asked about these relations, by a look at them alone, so that it costs what they are and not
 * what else lies in their schemas. False: nothing outside points to them, their indexes, owned sequences, types or other
 * parts, and no foreign key leaves or enters. True: something may, or event triggers may have done anything to anybody.
 * The session is told which relations are meant with the read itself, so that one plan serves all.
 */
export async function prepareLeakSuspicion(session: Session, relations: TableName[]): Promise<PreparedRead<boolean>> {
  const names = JSON.stringify(relations.map(({ schema, name }) => [schema, name]))
  const set = `select pg_catalog.set_config('${suspectsSetting}', ${quoteLiteral(names)}, false)`
  const execute = await prepareQuery(session, suspicionSql)
  return preparedRead(session, [set, execute], (rows) => (rows as { suspicious: boolean }[])[0]?.suspicious ?? true)
}

/**
 * The other way: everything in these schemas that points to a relation of another schema that is no system schema; with
 * `relations` only what points to one of these, their row types, indexes, constraints and owned sequences.
 */
export async function findOutwardLeaks(
  session: Session,
  schemas: string[],
  relations?: TableName[],
): Promise<string[]> {
  const named = relations === undefined ? null : JSON.stringify(relations.map(({ schema, name }) => [schema, name]))
  const rows = await session.query<{ line: string }>(outwardSql(schemas), [named])
  return rows.map(({ line }) => line)
}

async function readLines(session: Session, sql: string): Promise<string[]> {
  return (await session.query<{ line: string }>(sql)).map(({ line }) => line)
}

function among(schemas: string[]): string {
  return `n.nspname = any (array[${schemas.map(quoteLiteral).join(', ')}]::text[])`
}

/** pg_identify_object() is not translated, and qualifies names whatever the search path is. */
function described(classid: string, objid: string, objsubid: string): string {
  return `(select coalesce(i.type || ' ' || i.identity, 'an object')
    from pg_catalog.pg_identify_object(${classid}, ${objid}, ${objsubid}) i)`
}

/** A view is told by its name, not by the rule that it is made of. */
const dependent = `coalesce(
  (select ${described(`'pg_class'::regclass`, 'r.ev_class', '0')} from pg_catalog.pg_rewrite r
   where d.classid = 'pg_rewrite'::regclass and r.oid = d.objid and r.rulename = '_RETURN'),
  (select 'constraint ' || ${described('d.classid', 'd.objid', '0')} from pg_catalog.pg_trigger t
   where d.classid = 'pg_trigger'::regclass and t.oid = d.objid and t.tgconstraint <> 0),
  ${described('d.classid', 'd.objid', 'd.objsubid')})`
const referenced = described('d.refclassid', 'd.refobjid', 'd.refobjsubid')

const keyText = `format('foreign key %I of %s points to %s', k.conname,
  ${described(`'pg_class'::regclass`, 'k.conrelid', '0')}, ${described(`'pg_class'::regclass`, 'k.confrelid', '0')})`

/** pg_subscription's OIDs are hidden from ordinary roles on 13; its statistics are not. */
function leaksSql(schemas: string[]): string {
  return `with ${schemaContents('inside', among(schemas))},
lines as (
  select ${dependent} || ' points to ' || ${referenced} as line
  -- One look into the index for each object inside, however many rows pg_depend has.
  from inside i cross join lateral (
    select * from pg_catalog.pg_depend d where d.refclassid = i.classid and d.refobjid = i.objid offset 0) d
  where (d.classid, d.objid) not in (select classid, objid from inside)
    and ${notForeignKey}
    and ${notBookkeeping} and ${notPart}
  union
  select ${keyText}
  from pg_catalog.pg_constraint k
  where k.contype = 'f'
    and (k.connamespace in (select oid from inside_schemas))
        <> (k.confrelid in (select oid from inside_relations))
  union
  select format('subscription %I points to %s', s.subname, ${described(`'pg_class'::regclass`, 'r.srrelid', '0')})
  from pg_catalog.pg_subscription_rel r join pg_catalog.pg_stat_subscription s on s.subid = r.srsubid
  where r.srrelid in (select oid from inside_relations)
)
select line from lines order by line collate "C"`
}

const suspectsSetting = 'multiboard_sync.leak_suspects'

/** TOAST tables are parts of their tables by an internal dependency, as everything is that findLeaks() calls a part. */
const suspicionSql = `
with ${relationContents(`pg_catalog.current_setting('${suspectsSetting}')::jsonb`)}
select exists (select from pg_catalog.pg_event_trigger where evtenabled <> 'D')
  or exists (
    select from objects o cross join lateral (
      select * from pg_catalog.pg_depend d where d.refclassid = o.classid and d.refobjid = o.objid offset 0) d
    where d.deptype <> 'i' and (d.classid, d.objid) not in (select classid, objid from objects))
  or exists (
    select from pg_catalog.pg_constraint k
    where k.contype = 'f' and k.conrelid = any (array(select oid from rel)) and k.confrelid not in (select oid from rel))
  -- The one part of a table that may lie in another schema.
  or exists (
    select from pg_catalog.pg_statistic_ext s
    where s.stxrelid = any (array(select oid from rel))
      and s.stxnamespace <> all (array(
        select distinct c.relnamespace from pg_catalog.pg_class c where c.oid = any (array(select oid from given)))))
  or exists (select from pg_catalog.pg_subscription_rel r where r.srrelid in (select oid from rel)) as suspicious`

/** What lies in no schema but belongs to something inside: casts of a range type, members of an operator family, TOAST. */
const notPart = `
  not exists (
    select from pg_catalog.pg_depend part
    where part.classid = d.classid and part.objid = d.objid and part.deptype = 'i'
      and (part.refclassid, part.refobjid) in (select classid, objid from inside))`

function outwardSql(schemas: string[]): string {
  return `with ${schemaContents('inside', among(schemas))},
given as materialized (
  select c.oid
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I')
    and n.oid not in (select oid from inside_schemas)
    -- A list, hashed once: for each relation of the database it is looked into.
    and ($1::text is null or (n.nspname::text, c.relname::text) in (
      select g.pair ->> 0, g.pair ->> 1 from jsonb_array_elements($1::jsonb) g(pair)))
),
outside as materialized (
  select oid from given
  union
  select x.indexrelid from pg_catalog.pg_index x where x.indrelid in (select oid from given)
  union
  select s.objid from pg_catalog.pg_depend s
  where s.refclassid = 'pg_class'::regclass and s.refobjid in (select oid from given) and s.refobjsubid > 0
    and s.classid = 'pg_class'::regclass and s.deptype in ('a', 'i')
),
targets (classid, objid) as materialized (
  select 'pg_class'::regclass::oid, oid from outside
  union all
  select 'pg_type'::regclass::oid, t.oid from pg_catalog.pg_type t
  left join pg_catalog.pg_type e on e.typarray = t.oid
  where coalesce(e.typrelid, t.typrelid) in (select oid from outside)
  union all
  select 'pg_constraint'::regclass::oid, k.oid from pg_catalog.pg_constraint k where k.conrelid in (select oid from outside)
),
lines as (
  select ${dependent} || ' points to ' || ${referenced} as line
  from pg_catalog.pg_depend d
  where (d.classid, d.objid) in (select classid, objid from inside)
    and (d.refclassid, d.refobjid) in (select classid, objid from targets)
    and ${notForeignKey}
    and ${notBookkeeping}
  union
  select ${keyText} from pg_catalog.pg_constraint k
  where k.contype = 'f' and k.connamespace in (select oid from inside_schemas) and k.confrelid in (select oid from outside)
)
select line from lines order by line collate "C"`
}
