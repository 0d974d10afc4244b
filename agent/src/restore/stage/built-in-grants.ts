import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { quoteLiteral } from '../../postgres/quote.ts'

/**
 * SQL that gives relations and the sequences they own the privileges that PostgreSQL itself gives a new one: all to the
 * owner, none to others. Default privileges (ALTER DEFAULT PRIVILEGES) may have given more, or less, when they were made,
 * and pg_dump's grants count from the built-in ones (PostgreSQL docs, ALTER DEFAULT PRIVILEGES).
 */
export function toBuiltInGrants(relations: TableName[]): string {
  const names = quoteLiteral(JSON.stringify(relations.map(({ schema, name }) => [schema, name])))
  return `do ${quoteLiteral(`declare one record; begin
  for one in
    with given as (
      select c.oid
      from pg_catalog.jsonb_array_elements(${names}::jsonb) as g(pair)
      join pg_catalog.pg_namespace n on n.nspname = g.pair ->> 0
      join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = g.pair ->> 1
    ),
    made as (
      select oid from given
      union
      select d.objid
      from given
      join pg_catalog.pg_depend d on d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = given.oid
        and d.refobjsubid > 0 and d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.deptype in ('a', 'i')
    )
    select case c.relkind when 'S' then 'sequence' else 'table' end as kind, c.oid::pg_catalog.regclass as name,
           pg_catalog.pg_get_userbyid(c.relowner) as owner,
           array(select distinct case e.grantee when 0 then 'public' else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantee)) end
                 from pg_catalog.aclexplode(c.relacl) e where e.grantee <> c.relowner) as others
    from made
    join pg_catalog.pg_class c on c.oid = made.oid
    where c.relacl is not null and c.relkind in ('r', 'p', 'v', 'm', 'S')
  loop
    if pg_catalog.cardinality(one.others) > 0 then
      execute pg_catalog.format('revoke all on %s %s from %s', one.kind, one.name, pg_catalog.array_to_string(one.others, ', '));
    end if;
    execute pg_catalog.format('grant all on %s %s to %I', one.kind, one.name, one.owner);
  end loop;
end`)}`
}
