import {
  acl,
  aclList,
  comment,
  fact,
  normal,
  notInExtension,
  ofRelations,
  owner,
  sorted,
  type FactScope,
} from './fingerprint-terms.ts'
import { userTriggers } from './triggers.ts'

/** Facts of tables, views, sequences, indexes and what hangs on them. */
export function relationFacts(scope: FactScope): string[] {
  return [
    relations(scope),
    columns(scope),
    ...(scope.order ? [columnOrder] : []),
    constraints(scope),
    indexes,
    triggers(scope),
    rules(scope),
    policies(scope),
    views,
    sequences(scope),
    statistics(scope),
    foreignTables(scope),
    publicationTables(scope),
  ]
}

/**
 * From what hangs on a relation to its names. One plan serves scopes of all sizes: joins with `rel` would be made for short
 * lists, and take the square of the length of long ones. For the same reason COALESCE: of IN alone the server makes such a join.
 */
function tableOf(oid: string): string {
  return `cross join lateral (
    select o.oid, n.nspname, o.relname from pg_class o join pg_namespace n on n.oid = o.relnamespace
    where o.oid = ${oid} offset 0) c`
}

function isAmongThem(oid: string): string {
  return `coalesce(${oid} in (select rel.oid from rel), false)`
}

function relations(scope: FactScope): string {
  return fact(
    'relation',
    [
      'c.nspname',
      'c.relname',
      'c.relkind',
      'c.relpersistence',
      sorted('c.reloptions'),
      `(select ${sorted('t.reloptions')} from pg_class t where t.oid = c.reltoastrelid)`,
      'c.relrowsecurity',
      'c.relforcerowsecurity',
      'c.relreplident',
      `(select spcname from pg_tablespace where oid = c.reltablespace)`,
      `(select amname from pg_am where oid = c.relam)`,
      `case when c.reloftype <> 0 then c.reloftype::regtype::text end`,
      `case when c.relkind = 'p' then ${normal('pg_get_partkeydef(c.oid)')} end`,
      `case when c.relispartition then ${normal('pg_get_expr(c.relpartbound, c.oid)')} end`,
      `array(select i.inhparent::regclass::text from pg_inherits i where i.inhrelid = c.oid order by i.inhseqno)`,
      owner(scope, 'c.relowner'),
      `case when c.relkind = 'S' then ${acl(scope, 'c.relacl', 's', 'c.relowner')}
            when c.relkind <> 'c' then ${acl(scope, 'c.relacl', 'r', 'c.relowner')} end`,
      comment('c.oid', 'pg_class'),
    ],
    `rel c where c.relkind not in ('i', 'I')`,
  )
}

function columns(scope: FactScope): string {
  return fact(
    'column',
    [
      'c.nspname',
      'c.relname',
      'a.attname',
      'format_type(a.atttypid, a.atttypmod)',
      `case when a.attcollation <> 0 then a.attcollation::regcollation::text end`,
      'a.attnotnull',
      normal('pg_get_expr(d.adbin, d.adrelid)'),
      'a.attgenerated',
      'a.attidentity',
      'a.attstorage',
      scope.version >= 140_000 ? 'a.attcompression' : `''`,
      // -1 before 17, null since.
      'nullif(a.attstattarget, -1)',
      sorted('a.attoptions'),
      'md5(a.attfdwoptions::text)',
      'a.attislocal',
      'a.attinhcount',
      scope.owners ? `case when a.attacl is not null then ${aclList('a.attacl')} end` : 'null',
      'e.description',
    ],
    `rel c join pg_attribute a on a.attrelid = c.oid
     left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     left join pg_description e on e.objoid = a.attrelid and e.classoid = 'pg_class'::regclass and e.objsubid = a.attnum
     where c.relkind in ('r', 'p', 'v', 'm', 'f', 'c') and a.attnum > 0 and not a.attisdropped
       and ${ofRelations(scope, 'a.attrelid')}`,
  )
}

const columnOrder = fact(
  'column-order',
  [
    'c.nspname',
    'c.relname',
    `array(select a.attname from pg_attribute a
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum)`,
  ],
  `rel c where c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')`,
)

/**
 * A foreign key to a partitioned table has hidden copies, one for each partition it points to, whose names the server
 * makes up; and the names of those that partitions have from their parents are not in a dump either.
 */
function constraints(scope: FactScope): string {
  const { extent, keys } = scope
  const isWhole = extent === 'database'
  const definition = normal('pg_get_constraintdef(k.oid)')
  return fact(
    'constraint',
    [
      isWhole ? 'coalesce(c.nspname, n.nspname)' : 'c.nspname',
      'c.relname',
      isWhole ? 't.typname' : 'null',
      `case when k.contype <> 'f' or k.conparentid = 0 then k.conname end`,
      'k.contype',
      keys === 'unvalidated'
        ? `case when k.contype = 'f' then regexp_replace(${definition}, ' NOT VALID$', '') else ${definition} end`
        : definition,
      'k.condeferrable',
      'k.condeferred',
      keys === 'unvalidated' ? `case when k.contype <> 'f' then k.convalidated end` : 'k.convalidated',
      // Of keys these are bookkeeping, which attaching a partition and creating one leave different.
      ...['k.conislocal', 'k.coninhcount', 'k.connoinherit'].map(
        (term) => `case when k.contype in ('c', 'n') then ${term} end`,
      ),
      'k.conparentid <> 0',
      comment('k.oid', 'pg_constraint'),
    ],
    `pg_constraint k
     ${isWhole ? constrained : tableOf('k.conrelid')}
     where ${isWhole ? '(c.oid is not null or n.oid is not null)' : `${ofRelations(scope, 'k.conrelid')} and ${isAmongThem('k.conrelid')}`}
       and k.contype ${keys === 'none' ? `not in ('t', 'f')` : `<> 't'`}
       and not exists (select from pg_constraint p where p.oid = k.conparentid and p.conrelid = k.conrelid and p.conrelid <> 0)`,
  )
}

/** Of relations and of domains. */
const constrained = `
  left join rel c on c.oid = k.conrelid
  left join pg_type t on t.oid = k.contypid and ${notInExtension('pg_type', 't.oid')}
  left join ns n on n.oid = t.typnamespace`

const indexed = `rel i
  cross join lateral (select * from pg_index o where o.indexrelid = i.oid offset 0) x
  ${tableOf('x.indrelid')}
  where i.relkind in ('i', 'I') and ${isAmongThem('x.indrelid')}`

const indexes = fact(
  'index',
  [
    'i.nspname',
    'i.relname',
    'c.nspname',
    'c.relname',
    normal('pg_get_indexdef(i.oid)'),
    'x.indisunique',
    'x.indisprimary',
    'x.indisclustered',
    'x.indisreplident',
    'x.indisvalid',
    'x.indimmediate',
    `(select spcname from pg_tablespace where oid = i.reltablespace)`,
    `(select h.inhparent::regclass::text from pg_inherits h where h.inhrelid = i.oid)`,
    `array(select a.attnum || '=' || a.attstattarget from pg_attribute a
             where a.attrelid = i.oid and a.attstattarget >= 0 order by a.attnum)`,
    comment('i.oid', 'pg_class'),
  ],
  indexed,
)

function triggers(scope: FactScope): string {
  return fact(
    'trigger',
    [
      'c.nspname',
      'c.relname',
      't.tgname',
      normal('pg_get_triggerdef(t.oid)'),
      't.tgenabled',
      't.tgparentid <> 0',
      comment('t.oid', 'pg_trigger'),
    ],
    `pg_trigger t ${tableOf('t.tgrelid')}
     where ${ofRelations(scope, 't.tgrelid')} and ${isAmongThem('t.tgrelid')} and ${userTriggers}`,
  )
}

function rules(scope: FactScope): string {
  return fact(
    'rule',
    [
      'c.nspname',
      'c.relname',
      'r.rulename',
      normal('pg_get_ruledef(r.oid)'),
      'r.ev_enabled',
      comment('r.oid', 'pg_rewrite'),
    ],
    `pg_rewrite r ${tableOf('r.ev_class')}
     where r.rulename <> '_RETURN' and ${ofRelations(scope, 'r.ev_class')} and ${isAmongThem('r.ev_class')}`,
  )
}

function policies(scope: FactScope): string {
  return fact(
    'policy',
    [
      'c.nspname',
      'c.relname',
      'p.polname',
      'p.polcmd',
      'p.polpermissive',
      `array(select case when role = 0 then 'PUBLIC' else 'role ' || pg_get_userbyid(role) end collate "C" as name
             from unnest(p.polroles) as u(role) order by name)`,
      normal('pg_get_expr(p.polqual, p.polrelid)'),
      normal('pg_get_expr(p.polwithcheck, p.polrelid)'),
      comment('p.oid', 'pg_policy'),
    ],
    `pg_policy p ${tableOf('p.polrelid')}
     where ${ofRelations(scope, 'p.polrelid')} and ${isAmongThem('p.polrelid')}`,
  )
}

const views = fact(
  'view',
  ['c.nspname', 'c.relname', normal('pg_get_viewdef(c.oid)')],
  `rel c where c.relkind in ('v', 'm')`,
)

function sequences(scope: FactScope): string {
  return fact(
    'sequence',
    [
      'c.nspname',
      'c.relname',
      's.seqtypid::regtype::text',
      's.seqstart',
      's.seqincrement',
      's.seqmin',
      's.seqmax',
      's.seqcache',
      's.seqcycle',
      `(select json_build_array(d.refobjid::regclass::text, a.attname, d.deptype)
        from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_class'::regclass
          and d.refobjsubid > 0 and d.deptype in ('a', 'i'))`,
      owner(scope, 'c.relowner'),
    ],
    `rel c join pg_sequence s on s.seqrelid = c.oid where ${ofRelations(scope, 's.seqrelid')}`,
  )
}

function statistics(scope: FactScope): string {
  return fact(
    'statistics',
    [
      'n.nspname',
      's.stxname',
      'pg_get_statisticsobjdef(s.oid)',
      'nullif(s.stxstattarget, -1)',
      owner(scope, 's.stxowner'),
      comment('s.oid', 'pg_statistic_ext'),
    ],
    `pg_statistic_ext s join ${scope.extent === 'relations' ? 'pg_namespace' : 'ns'} n on n.oid = s.stxnamespace
     where ${notInExtension('pg_statistic_ext', 's.oid')}
       ${scope.extent === 'relations' ? `and ${ofRelations(scope, 's.stxrelid')}` : ''}`,
  )
}

function foreignTables(scope: FactScope): string {
  return fact(
    'foreign-table',
    ['c.nspname', 'c.relname', 's.srvname', 'md5(f.ftoptions::text)'],
    `pg_foreign_table f join rel c on c.oid = f.ftrelid join pg_foreign_server s on s.oid = f.ftserver
     where ${ofRelations(scope, 'f.ftrelid')}`,
  )
}

function publicationTables(scope: FactScope): string {
  const since15 = scope.version >= 150_000
  return fact(
    'publication-table',
    [
      'p.pubname',
      'c.nspname',
      'c.relname',
      since15
        ? `array(select a.attname::text collate "C" as name from pg_attribute a
                 where a.attrelid = c.oid and a.attnum = any (r.prattrs::int2[]) order by name)`
        : 'null',
      since15 ? normal('pg_get_expr(r.prqual, r.prrelid)') : 'null',
    ],
    `pg_publication_rel r join pg_publication p on p.oid = r.prpubid ${tableOf('r.prrelid')}
     where ${ofRelations(scope, 'r.prrelid')} and ${isAmongThem('r.prrelid')}`,
  )
}
