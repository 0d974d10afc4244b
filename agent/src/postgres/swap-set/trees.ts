import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { Session } from '../session.ts'
import type { DependencyFinding } from './swap-set.ts'

/** A table that has its columns from another, as its partition or by INHERITS. */
interface Heir {
  child: number
  childName: string[]
  childKind: string
  parent: number
  parentName: string[]
  isPartition: boolean
}

interface Trees {
  /** The tables whose rows are replaced, and the partitioned tables above them that are replaced as a whole. */
  tables: number[]
  /** Tables on which others stand by inheritance: pairs of child and parent. */
  heirs: { child: number; parent: number }[]
  findings: DependencyFinding[]
}

/** What partitions and inheritance tie to the tables: only whole trees can be swapped. */
export async function readTrees(session: Session, tableOids: number[]): Promise<Trees> {
  const heirs = await session.query<Heir>(`
    select i.inhrelid::int8::float8 as child, array[cn.nspname, c.relname]::text[] as "childName",
           c.relkind::text as "childKind", c.relispartition as "isPartition",
           i.inhparent::int8::float8 as parent, array[pn.nspname, p.relname]::text[] as "parentName"
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid and c.relkind in ('r', 'p', 'f')
    join pg_namespace cn on cn.oid = c.relnamespace
    join pg_class p on p.oid = i.inhparent
    join pg_namespace pn on pn.oid = p.relnamespace
    order by cn.nspname collate "C", c.relname collate "C"`)
  const replaced = new Set(tableOids)
  const partitions = partitionFindings(heirs, replaced)
  const tables = new Set([...tableOids, ...partitions.whole])
  const findings = [
    ...partitions.findings,
    ...inheritanceFindings(heirs, tables),
    ...(await orderFindings(session, heirs, tables)),
  ]
  return { tables: [...tables], heirs, findings }
}

/**
 * CREATE TABLE … INHERITS puts the parents' columns first, so pg_dump cannot write a table whose parent got a column later:
 * its twin would have another order.
 */
async function orderFindings(
  session: Session,
  heirs: Heir[],
  tables: ReadonlySet<number>,
): Promise<DependencyFinding[]> {
  const children = heirs.filter((heir) => !heir.isPartition && tables.has(heir.child))
  if (children.length === 0) return []
  const odd = await session.query<{ child: number }>(ODD_ORDER_SQL, [children.map((heir) => heir.child)])
  return children
    .filter((heir, index) => children.findIndex(({ child }) => child === heir.child) === index)
    .filter((heir) => odd.some(({ child }) => child === heir.child))
    .map((heir) => ({
      effect: 'in-place',
      text: `${shown(heir.childName)} has inherited a column after its own, an order that cannot be made again`,
    }))
}

const ODD_ORDER_SQL = `
with present as (
  select a.attrelid as child, a.attname, a.attnum,
         (select min(array[i.inhseqno, p.attnum]) from pg_inherits i join pg_attribute p on p.attrelid = i.inhparent
          where i.inhrelid = a.attrelid and p.attname = a.attname and p.attnum > 0 and not p.attisdropped) as inherited
  from pg_attribute a
  where a.attrelid = any ($1::oid[]) and a.attnum > 0 and not a.attisdropped
)
select child::int8::float8 as child
from present
group by child
having array_agg(attname order by attnum) <> array_agg(attname order by inherited nulls last, attnum)`

function partitionFindings(heirs: Heir[], replaced: ReadonlySet<number>) {
  const partitions = heirs.filter((heir) => heir.isPartition)
  const parentOf = new Map(partitions.map((heir) => [heir.child, heir]))
  const childrenOf = Map.groupBy(partitions, (heir) => heir.parent)
  const findings: DependencyFinding[] = []
  const whole: number[] = []
  for (const root of new Set([...replaced].map((oid) => rootOf(oid, parentOf)))) {
    const tree = below(root, childrenOf)
    const [first] = tree
    if (first === undefined) continue
    const leaves = tree.filter((heir) => heir.childKind !== 'p')
    const left = leaves.filter((heir) => !replaced.has(heir.child))
    const foreign = tree.filter((heir) => heir.childKind === 'f')
    for (const heir of foreign)
      findings.push({ effect: 'refused', text: `${shown(heir.childName)} is a foreign table` })
    if (left[0] === undefined) {
      whole.push(root, ...tree.filter((heir) => heir.childKind === 'p').map((heir) => heir.child))
    } else if (foreign.length === 0) {
      const more = left.length === 1 ? '' : ` (and ${left.length - 1} more)`
      const text = `partition ${shown(left[0].childName)}${more} of ${shown(first.parentName)} is not replaced with the others`
      findings.push({ effect: 'in-place', text })
    }
  }
  return { findings, whole }
}

function inheritanceFindings(heirs: Heir[], tables: ReadonlySet<number>): DependencyFinding[] {
  return heirs
    .filter((heir) => !heir.isPartition && tables.has(heir.child) !== tables.has(heir.parent))
    .map((heir) => ({
      effect: 'in-place',
      text: `${shown(heir.childName)} inherits from ${shown(heir.parentName)}, and only one of them is replaced`,
    }))
}

function rootOf(oid: number, parentOf: ReadonlyMap<number, Heir>): number {
  const parent = parentOf.get(oid)
  return parent === undefined ? oid : rootOf(parent.parent, parentOf)
}

/** The tables in the same trees, without the tables themselves. */
export function relativesOf(tables: number[], heirs: Trees['heirs']): Set<number> {
  const found = new Set(tables)
  const byChild = Map.groupBy(heirs, ({ child }) => child)
  const byParent = Map.groupBy(heirs, ({ parent }) => parent)
  for (const oid of found) {
    for (const { parent } of byChild.get(oid) ?? []) found.add(parent)
    for (const { child } of byParent.get(oid) ?? []) found.add(child)
  }
  for (const oid of tables) found.delete(oid)
  return found
}

/** Everything below, parents before their partitions. */
function below(oid: number, childrenOf: ReadonlyMap<number, Heir[]>): Heir[] {
  const children = childrenOf.get(oid) ?? []
  return children.flatMap((heir) => [heir, ...below(heir.child, childrenOf)])
}

function shown([schema = '', name = '']: string[]): string {
  const table: TableName = { schema, name }
  return formatTableName(table)
}
