import { userSchemas } from './catalog.ts'

/** What a fingerprint is made of; the server's version decides which columns the catalogue has. */
export interface FactScope {
  version: number
  owners: boolean
  order: boolean
  keys: 'all' | 'unvalidated' | 'none'
  /** Of the whole database, of the schemas in the setting `schemasSetting`, or of the relations in `relationsSetting`. */
  extent: 'database' | 'schemas' | 'relations'
}

/**
 * Settings of the session that say what a scoped fingerprint is of: `["schema", …]` and `[["schema", "name"], …]`. Settings
 * and not parameters, so that one plan, made once, serves every scope.
 */
export const schemasSetting = 'multiboard_sync.fingerprint_schemas'
export const relationsSetting = 'multiboard_sync.fingerprint_relations'

/** `ext`: what belongs to extensions. `ns`: the schemas. `rel`: their relations. Every fact stands on these. */
export function commonTables({ extent }: FactScope): string {
  const schemas = {
    database: userSchemas,
    schemas: inSetting,
    relations: inSetting,
  }[extent]
  return `
ext as materialized (
  select classid, objid from pg_depend where refclassid = 'pg_extension'::regclass and deptype = 'e'
),
ns as materialized (select n.* from pg_namespace n where ${schemas}),${extent === 'relations' ? named : ''}
rel as materialized (
  select c.*, n.nspname
  from pg_class c
  join ns n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c', 'i', 'I') and ${notInExtension('pg_class', 'c.oid')}
    ${extent === 'relations' ? `and c.oid = any ((select list from named)::oid[])` : ''}
)`
}

const inSetting = `n.nspname in (select jsonb_array_elements_text(current_setting('${schemasSetting}')::jsonb))`

/** The given relations with their indexes and the sequences that they own. */
const named = `
given as materialized (
  select array_agg(c.oid) as list
  from jsonb_array_elements(current_setting('${relationsSetting}')::jsonb) as g(pair)
  join ns n on n.nspname = g.pair ->> 0
  join pg_class c on c.relnamespace = n.oid and c.relname = g.pair ->> 1
),
named as materialized (
  select array(
    select unnest(list) from given
    union all
    select x.indexrelid from pg_index x where x.indrelid = any ((select list from given)::oid[])
    union all
    select d.objid from pg_depend d
    where d.refclassid = 'pg_class'::regclass and d.refobjid = any ((select list from given)::oid[])
      and d.refobjsubid > 0 and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
  ) as list
),`

/** Condition that lets a scoped fingerprint find rows by the OID of their relation; nothing for a whole database. */
export function ofRelations({ extent }: FactScope, oid: string): string {
  return extent === 'database' ? 'true' : `${oid} = any (array(select rel.oid from rel))`
}

/** Condition: the object is no member of an extension. */
export function notInExtension(catalog: string, oid: string): string {
  return `not exists (select from ext where ext.classid = '${catalog}'::regclass and ext.objid = ${oid})`
}

/** One fact: a query of JSON arrays that begin with the kind. */
export function fact(kind: string, terms: string[], from: string): string {
  return `select json_build_array('${kind}', ${terms.join(', ')})::text\nfrom ${from}`
}

export function owner(scope: FactScope, oid: string): string {
  return scope.owners ? `pg_get_userbyid(${oid})` : 'null'
}

/**
 * Who may do what, sorted; an absent list means the default of its kind (acldefault's letter), which a dump may turn into
 * the same list written out. Who granted is not a fact.
 */
export function acl(scope: FactScope, list: string, letter: string, ownerOid: string): string {
  return scope.owners ? aclList(`coalesce(${list}, acldefault('${letter}', ${ownerOid}))`) : 'null'
}

export function aclList(list: string): string {
  return `array(select distinct concat_ws(' ', case when e.grantee = 0 then 'PUBLIC' else 'role ' || pg_get_userbyid(e.grantee) end,
    e.privilege_type, case when e.is_grantable then 'grantable' end) collate "C" as entry
    from aclexplode(${list}) e order by entry)`
}

export function comment(oid: string, catalog: string): string {
  // obj_description() is the same, but looks the catalog up by its name again, in the plan of every fact.
  return `(select remark.description from pg_description remark
    where remark.objoid = ${oid} and remark.classoid = '${catalog}'::regclass and remark.objsubid = 0)`
}

/** A text array in an order of its own. */
export function sorted(list: string): string {
  return `case when ${list} is not null then array(select item collate "C" as item from unnest(${list}) as u(item) order by item) end`
}

/**
 * `x in ('a', 'b')` over varchar is the one common expression whose text changes when it is read back:
 * `(ARRAY['a'::character varying])::text[]` becomes `ARRAY[('a'::character varying)::text]`. Both become the same here.
 */
export function normal(text: string): string {
  const literal = `(?:E?''(?:[^'']|'''')*''|NULL)::character varying(?:\\(\\d+\\))?`
  const whole = `'\\(ARRAY\\[((?:${literal}(?:, )?)+)\\]\\)::text\\[\\]', 'ARRAY[\\1]'`
  const single = `'\\((${literal})\\)::text', '\\1'`
  const replaced = `regexp_replace(regexp_replace(said.text, ${whole}, 'g'), ${single}, 'g')`
  // Few texts have any: the expressions take longer than the server needs to write the text.
  return `(select case when strpos(said.text, '::character varying') > 0 then ${replaced} else said.text end
    from (select ${text} as text offset 0) said)`
}
