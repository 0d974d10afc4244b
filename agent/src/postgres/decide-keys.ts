import type { MergeKey } from './merge-keys.ts'
import type { MergeTable } from './merge-tables.ts'

/*
 * What becomes of foreign keys while rows are merged.
 *
 * A key stays as it is, so that no reader waits, when the server lets every step of the way pass and when it cannot change
 * a row by an action of its own (CASCADE, SET NULL, …). That is so
 *   free      when it is not enforced, or leads to a table that the job does not touch
 *   deferred  when it can be checked at the end, and has no action
 *   ordered   when it refers to the primary key, by which rows are matched: rows that stay never change it, new rows
 *             come before those that refer to them, and a row goes after the last that referred to it
 * All others are dropped for the time of the transaction, which readers of both tables wait for; so are those that would
 * cost more than that.
 */

export interface KeyDecision {
  /** Tables that others refer to come before those. */
  order: MergeTable[]
  dropped: MergeKey[]
  /** By the OID of the table referred to: the keys that decide when its rows may go. */
  ordered: Map<number, MergeKey[]>
  /** OIDs of tables whose changed rows are deleted and inserted again, so that unique values can move between rows. */
  replaced: Set<number>
  /** True when a unique value that moves from row to row would fail: then decide again with `moving`. */
  mayFail: boolean
}

/** What is known of the rows. */
export interface RowFacts {
  /** Unique values move from row to row, also in tables that ordered keys refer to. */
  moving: boolean
  /** OIDs of keys that would be looked through, without an index, for too many rows that go. */
  costly: ReadonlySet<number>
}

/** `lineages` are the tables' own OIDs with those of their partitioned ancestors. */
export function decideKeys(
  tables: MergeTable[],
  keys: MergeKey[],
  lineages: Map<number, Set<number>>,
  { moving, costly }: RowFacts,
): KeyDecision {
  const within = (oid: number): MergeTable[] => tables.filter(({ table }) => lineages.get(table.oid)?.has(oid))
  const mustReplace = (one: MergeTable): boolean => one.hasFixedColumn || (moving && one.hasFurtherKeys)
  const dropped: MergeKey[] = []
  let edges: Edge[] = []
  for (const key of keys) {
    const parents = within(key.referencedOid)
    const cheap = roleOf(key, parents, mustReplace)
    const role = cheap !== 'free' && costly.has(key.oid) ? 'dropped' : cheap
    if (role === 'dropped') dropped.push(key)
    if (role === 'ordered') edges.push({ key, parents, children: within(key.tableOid) })
  }
  const reachable = reach(edges)
  const isCircle = ({ parents, children }: Edge): boolean =>
    parents.some((parent) =>
      children.some((child) => child !== parent && reachable(parent.table.oid).has(child.table.oid)),
    )
  const circles = edges.filter(isCircle)
  dropped.push(...circles.map(({ key }) => key))
  edges = edges.filter((edge) => !circles.includes(edge))

  const ordered = new Map<number, MergeKey[]>()
  for (const { key, parents } of edges) {
    for (const { table } of parents) ordered.set(table.oid, [...(ordered.get(table.oid) ?? []), key])
  }
  const isReferred = ({ table }: MergeTable): boolean => ordered.has(table.oid)
  return {
    order: parentsFirst(tables, edges),
    dropped,
    ordered,
    replaced: new Set(
      tables
        .filter((one) => mustReplace(one) || (one.hasFurtherKeys && !isReferred(one)))
        .map(({ table }) => table.oid),
    ),
    mayFail: tables.some((one) => one.hasFurtherKeys && isReferred(one)),
  }
}

interface Edge {
  key: MergeKey
  parents: MergeTable[]
  children: MergeTable[]
}

function roleOf(
  key: MergeKey,
  parents: MergeTable[],
  mustReplace: (table: MergeTable) => boolean,
): 'free' | 'deferred' | 'ordered' | 'dropped' {
  if (!key.isEnforced) return 'free'
  // Rows that violate it may be there, and may come.
  if (!key.validated) return 'dropped'
  if (parents.length === 0) return 'free'
  if (key.deferrable && key.onUpdate === 'a' && key.onDelete === 'a') return 'deferred'
  const referenced = new Set(key.columns.map((column) => column.referenced))
  const isOrdered = parents.every(
    (parent) =>
      !mustReplace(parent) &&
      parent.key.length === referenced.size &&
      parent.key.every(({ name, isExact }) => referenced.has(name) && (isExact || key.onUpdate === 'a')),
  )
  return isOrdered && !key.hasPeriod ? 'ordered' : 'dropped'
}

/** From a table, all those that it refers to, over one key or many. */
function reach(edges: Edge[]): (oid: number) => Set<number> {
  const up = new Map<number, Set<number>>()
  for (const { parents, children } of edges) {
    for (const child of children) {
      const above = up.get(child.table.oid) ?? new Set()
      for (const parent of parents) if (parent !== child) above.add(parent.table.oid)
      up.set(child.table.oid, above)
    }
  }
  const known = new Map<number, Set<number>>()
  return (oid) => {
    const found = known.get(oid) ?? new Set<number>()
    if (known.has(oid)) return found
    const waiting = [...(up.get(oid) ?? [])]
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (found.has(next)) continue
      found.add(next)
      waiting.push(...(up.get(next) ?? []))
    }
    known.set(oid, found)
    return found
  }
}

/** Without circles a table refers, over all, to fewer tables than any table that refers to it. */
function parentsFirst(tables: MergeTable[], edges: Edge[]): MergeTable[] {
  const reachable = reach(edges)
  return tables.toSorted((a, b) => reachable(a.table.oid).size - reachable(b.table.oid).size)
}
