/** What lies in schemas by a column of its catalogue of its own. */
const inNamespace = [
  ['pg_class', 'relnamespace'],
  ['pg_type', 'typnamespace'],
  ['pg_proc', 'pronamespace'],
  ['pg_constraint', 'connamespace'],
  ['pg_statistic_ext', 'stxnamespace'],
  ['pg_operator', 'oprnamespace'],
  ['pg_opclass', 'opcnamespace'],
  ['pg_opfamily', 'opfnamespace'],
  ['pg_collation', 'collnamespace'],
  ['pg_conversion', 'connamespace'],
  ['pg_ts_config', 'cfgnamespace'],
  ['pg_ts_dict', 'dictnamespace'],
  ['pg_ts_parser', 'prsnamespace'],
  ['pg_ts_template', 'tmplnamespace'],
  ['pg_default_acl', 'defaclnamespace'],
] as const

/** What lies in a schema because its relation does. */
const onRelation = [
  ['pg_attrdef', 'adrelid'],
  ['pg_trigger', 'tgrelid'],
  ['pg_rewrite', 'ev_class'],
  ['pg_policy', 'polrelid'],
] as const

/**
 * Common table expressions about the schemas that meet `condition` over `n` (pg_namespace): `<name>_schemas` (oid),
 * `<name>_relations` (oid), and `<name>` (classid, objid): the schemas, everything in them, and the parts of their relations that pg_depend knows.
 */
export function schemaContents(name: string, condition: string): string {
  const inside = inNamespace.map(
    ([catalog, column]) =>
      `select '${catalog}'::regclass::oid, o.oid from pg_catalog.${catalog} o where o.${column} in (select oid from ${name}_schemas)`,
  )
  const parts = onRelation.map(
    ([catalog, column]) => `select '${catalog}'::regclass::oid, o.oid from pg_catalog.${catalog} o
      where o.${column} = any (array(select oid from ${name}_relations))`,
  )
  return `
${name}_schemas as materialized (select n.oid from pg_catalog.pg_namespace n where ${condition}),
${name}_relations as materialized (
  select c.oid from pg_catalog.pg_class c where c.relnamespace in (select oid from ${name}_schemas)
),
${name} (classid, objid) as materialized (
  select 'pg_namespace'::regclass::oid, oid from ${name}_schemas
  union all
  ${[...inside, ...parts].join('\n  union all\n  ')}
)`
}

/**
 * Condition over `d` (pg_depend): not the bookkeeping of constraints, whose names the server makes up: the triggers of foreign
 * keys and of deferrable constraints, and the copies that partitions have of foreign keys.
 */
export const notBookkeeping = `
  (d.classid <> 'pg_trigger'::regclass or coalesce((
    select k.contype from pg_catalog.pg_trigger t join pg_catalog.pg_constraint k on k.oid = t.tgconstraint
    where t.oid = d.objid), 't') = 't')
  and (d.classid <> 'pg_constraint'::regclass or not coalesce((
    select k.contype = 'f' and k.conparentid <> 0 from pg_catalog.pg_constraint k where k.oid = d.objid), false))`

/**
 * Condition over `d` (pg_depend): no foreign key, which are told apart. Scalar subqueries, here and above: for EXISTS
 * the server reads all constraints of the database beforehand.
 */
export const notForeignKey = `
  (d.classid <> 'pg_constraint'::regclass
   or (select k.contype from pg_catalog.pg_constraint k where k.oid = d.objid) is distinct from 'f')`

/**
 * Common table expressions about single relations, found by indexes alone, whatever else is in the database: `given` (oid),
 * the relations whose names `names` is, SQL for a jsonb of `[["schema", "name"], …]`; `rel` (oid), these with their indexes
 * and owned sequences; and `objects` (classid, objid): those, and the parts of them that pg_depend knows.
 */
export function relationContents(names: string): string {
  const among = (list: string): string => `= any (array(select oid from ${list}))`
  return `
given as materialized (
  select c.oid
  from jsonb_array_elements(${names}) as g(pair)
  join pg_catalog.pg_namespace n on n.nspname = g.pair ->> 0
  join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = g.pair ->> 1
),
rel as materialized (
  select oid from given
  union all
  select x.indexrelid from pg_catalog.pg_index x where x.indrelid ${among('given')}
  union all
  select d.objid from pg_catalog.pg_depend d
  where d.refclassid = 'pg_class'::regclass and d.refobjid ${among('given')} and d.refobjsubid > 0
    and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
),
row_types as materialized (
  select t.oid, t.typarray from pg_catalog.pg_type t
  where t.oid = any (array(select c.reltype from pg_catalog.pg_class c where c.oid ${among('rel')} and c.reltype <> 0))
),
objects (classid, objid) as materialized (
  select 'pg_class'::regclass::oid, oid from rel
  union all select 'pg_type'::regclass::oid, oid from row_types
  union all select 'pg_type'::regclass::oid, typarray from row_types where typarray <> 0
  union all select 'pg_constraint'::regclass::oid, o.oid from pg_catalog.pg_constraint o where o.conrelid ${among('rel')}
  union all select 'pg_attrdef'::regclass::oid, o.oid from pg_catalog.pg_attrdef o where o.adrelid ${among('rel')}
  union all select 'pg_trigger'::regclass::oid, o.oid from pg_catalog.pg_trigger o where o.tgrelid ${among('rel')}
  union all select 'pg_rewrite'::regclass::oid, o.oid from pg_catalog.pg_rewrite o where o.ev_class ${among('rel')}
  union all select 'pg_policy'::regclass::oid, o.oid from pg_catalog.pg_policy o where o.polrelid ${among('rel')}
  union all select 'pg_statistic_ext'::regclass::oid, o.oid from pg_catalog.pg_statistic_ext o where o.stxrelid ${among('rel')}
)`
}
