import { userSchemas } from './catalog.ts'

/** What a fingerprint is made of; the server's version decides which columns the catalogue has. */
export interface FactScope {
  version: number
  owners: boolean
  order: boolean
}

/** `ext`: what belongs to extensions. `ns`: user schemas. `rel`: their relations. Every fact stands on these. */
export const commonTables = `
ext as materialized (select classid, objid from pg_depend where deptype = 'e'),
ns as materialized (select n.* from pg_namespace n where ${userSchemas}),
rel as materialized (
  select c.*, n.nspname
  from pg_class c
  join ns n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c', 'i', 'I') and ${notInExtension('pg_class', 'c.oid')}
)`

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
  return `obj_description(${oid}, '${catalog}')`
}

/** A text array in an order of its own. */
export function sorted(list: string): string {
  return `array(select item collate "C" as item from unnest(${list}) as u(item) order by item)`
}

/**
 * `x in ('a', 'b')` over varchar is the one common expression whose text changes when it is read back:
 * `(ARRAY['a'::character varying])::text[]` becomes `ARRAY[('a'::character varying)::text]`. Both become the same here.
 */
export function normal(text: string): string {
  const literal = `(?:E?''(?:[^'']|'''')*''|NULL)::character varying(?:\\(\\d+\\))?`
  const whole = `'\\(ARRAY\\[((?:${literal}(?:, )?)+)\\]\\)::text\\[\\]', 'ARRAY[\\1]'`
  const single = `'\\((${literal})\\)::text', '\\1'`
  return `regexp_replace(regexp_replace(${text}, ${whole}, 'g'), ${single}, 'g')`
}
