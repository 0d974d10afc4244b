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
