import type { TableName } from '@multiboard-sync/shared/table-pattern'
import type { DumpEntry } from '../../postgres/dump-entries.ts'
import { DUMPED_NAME, plainName } from '../../postgres/dump-names.ts'
import type { Session } from '../../postgres/session.ts'
import type { Member } from '../../postgres/swap-set/swap-set.ts'

/** A name as pg_dump's headers have it, and the member that it belongs to. */
interface Belonging extends TableName {
  oid: number
  /** A relation by its own name (the member, its sequences and indexes), or a part: `table constraint`. */
  kind: 'relation' | 'part'
}

/** These stand right behind what they are about, and are about nothing else. */
const ATTACHED = new Set(['COMMENT', 'SECURITY LABEL'])
const PARTS = new Set(['CHECK CONSTRAINT', 'CONSTRAINT', 'DEFAULT', 'POLICY', 'RULE', 'TRIGGER'])
const ACL_OF_RELATION = new RegExp(`^(?:TABLE|SEQUENCE|COLUMN) (${DUMPED_NAME})(?:\\.${DUMPED_NAME})?$`, 's')

/** Of what belongs to other relations of the members' schemas. */
const OUTSIDE = -1

/**
 * Which component of the set each entry of the dump makes. Undefined when that cannot be told of one of them, because its
 * name could be that of two components' or is nobody's: then all belong together. `entries` are without foreign keys, and
 * those of the members alone, or of all relations in the members' schemas: then the others' make nothing.
 */
export async function assignEntries(
  session: Session,
  members: Member[],
  entries: DumpEntry[],
  of: 'members' | 'schemas' = 'members',
): Promise<Map<DumpEntry, number> | undefined> {
  const rows = await session.query<Belonging>(BELONGINGS_SQL, [members.map(({ oid }) => oid), of === 'schemas'])
  const components = new Map(members.map(({ oid, component }) => [oid, component]))
  const owners = new Map<string, Set<number>>()
  for (const row of rows) {
    const component = components.get(row.oid) ?? OUTSIDE
    const key = keyOf(row)
    owners.set(key, (owners.get(key) ?? new Set()).add(component))
  }
  const assigned = new Map<DumpEntry, number>()
  let previous: number | undefined
  for (const entry of entries) {
    if (!ATTACHED.has(entry.type)) {
      const found = owners.get(keyOf(subjectOf(entry)))
      if (found?.size !== 1) return undefined
      ;[previous] = found
    }
    if (previous === undefined) return undefined
    if (previous !== OUTSIDE) assigned.set(entry, previous)
  }
  return assigned
}

/** The entries without foreign keys, and without the comments on those. */
export function withoutForeignKeys(entries: DumpEntry[]): DumpEntry[] {
  let isKey = false
  return entries.filter((entry) => {
    if (!ATTACHED.has(entry.type)) isKey = entry.type === 'FK CONSTRAINT'
    return !isKey
  })
}

function subjectOf({ type, schema, name }: DumpEntry): Omit<Belonging, 'oid'> {
  if (PARTS.has(type)) return { kind: 'part', schema, name }
  if (type !== 'ACL') return { kind: 'relation', schema, name }
  return { kind: 'relation', schema, name: plainName(ACL_OF_RELATION.exec(name)?.[1] ?? '') }
}

/** pg_dump's headers have blanks for line ends. */
function keyOf({ kind, schema, name }: Omit<Belonging, 'oid'>): string {
  return [kind, ...[schema, name].map((text) => text.replaceAll(/[\r\n]/g, ' '))].join('\n')
}

const BELONGINGS_SQL = `
with member as (
  select c.oid, c.relname, c.relnamespace from pg_catalog.pg_class c where c.oid = any ($1::oid[])
  union
  select c.oid, c.relname, c.relnamespace
  from pg_catalog.pg_class c
  where $2 and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    and c.relnamespace in (select m.relnamespace from pg_catalog.pg_class m where m.oid = any ($1::oid[]))
    -- A table's own sequences are its.
    and not (c.relkind = 'S' and exists (
      select from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
        and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i')))
),
relation (oid, relid) as (
  select oid, oid from member
  union all
  select m.oid, x.indexrelid from member m join pg_catalog.pg_index x on x.indrelid = m.oid
  union all
  select m.oid, d.objid
  from member m
  join pg_catalog.pg_depend d on d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = m.oid
    and d.refobjsubid > 0 and d.classid = 'pg_catalog.pg_class'::regclass and d.deptype in ('a', 'i')
),
part (oid, name) as (
  select conrelid, conname from pg_catalog.pg_constraint
  union all
  select tgrelid, tgname from pg_catalog.pg_trigger
  union all
  select ev_class, rulename from pg_catalog.pg_rewrite
  union all
  select polrelid, polname from pg_catalog.pg_policy
  union all
  select a.attrelid, a.attname from pg_catalog.pg_attribute a where a.attnum > 0 and not a.attisdropped and a.atthasdef
)
select r.oid::int8::float8 as oid, 'relation' as kind, n.nspname::text as schema, c.relname::text as name
from relation r
join pg_catalog.pg_class c on c.oid = r.relid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
union
select m.oid::int8::float8, 'part', n.nspname::text, m.relname || ' ' || p.name
from member m
join part p on p.oid = m.oid
join pg_catalog.pg_namespace n on n.oid = m.relnamespace`
