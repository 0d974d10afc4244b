import type { TableName } from '@multiboard-sync/shared/table-pattern'
import type { ForeignKey } from '../foreign-keys.ts'

/*
 * What a swap has to do with: the relations it moves, the foreign keys that cross its border, what elsewhere points into
 * it and is made again, and what forbids it. Read by OID from the live tables, at the plan, before the swap and before an
 * undo: never remembered from one to the next.
 */

/** A relation that is replaced as a whole: a table, or a view that cannot be re-made in place (a twin). */
export interface Member extends TableName {
  oid: number
  /** Ordinary, partitioned, view, materialized view. */
  kind: 'r' | 'p' | 'v' | 'm'
  owner: string
  /** Members with the same number belong together and are staged in one transaction. Counts from 0. */
  component: number
  /** Of a materialized view; true for all others. */
  isPopulated: boolean
  rowSecurity: boolean
  forceRowSecurity: boolean
}

/** An extended statistics object on a member. A table's SET SCHEMA does not move it, and `pg_dump -t` leaves it out. */
export interface SetStatistics extends TableName {
  oid: number
  table: TableName
  component: number
  /** pg_get_statisticsobjdef(). */
  definition: string
  /** ALTER STATISTICS … SET STATISTICS; null for the default. */
  target: number | null
  owner: string
  comment: string | null
}

/** A foreign key with a member at one end or both. Those that partitions have from their parents are left out. */
export interface SetKey extends ForeignKey {
  side: 'inner' | 'inbound' | 'outbound'
  /** False for NOT ENFORCED (18). */
  enforced: boolean
  /** The definition is `${head}${the referenced table, quoted}${tail}`. */
  head: string
  tail: string
  /**
   * What makes the same key, instead of `tail`: without columns the server takes the primary key, with columns the oldest
   * of the unique indexes on them, which is another one when they are made again.
   */
  makeTail: string
  /** The unique index of the referenced table that the key stands on. */
  index: string
  /** PERIOD in its columns (18): only the server can check it. */
  hasPeriod: boolean
  matchFull: boolean
  columns: KeyColumn[]
  tableKind: 'r' | 'p'
}

interface KeyColumn {
  name: string
  referenced: string
  /** `operator(pg_catalog.=)`: referenced column on the left, referencing column on the right, as conpfeqop has it. */
  operator: string
  /** ` collate "pg_catalog"."C"` of the referenced column where both differ; else ''. */
  collation: string
}

/** An object outside the set that points into it and is pointed to the new relations by running `sql` after the move. */
export interface Remade {
  kind: 'view' | 'function' | 'rule' | 'policy' | 'default'
  /** For people: `view public.v`, `policy p on public.o`. */
  what: string
  /** Of the view or function itself; of the relation of a rule, policy or default. */
  owner: string
  /** Likewise. CREATE OR REPLACE asks for the right to create there. */
  schema: string
  /** The relation that its statement locks: the view itself, the table of a rule, policy or default. */
  relation: (TableName & { kind: 'r' | 'p' | 'v' | 'm' | 'f' }) | undefined
  sql: string
}

/** Why tables cannot be swapped: replaced in place instead (merge, truncate), or not at all. */
export interface DependencyFinding {
  effect: 'in-place' | 'refused'
  /** A clause for people, without a full stop: `function public.f() returns the row type of public.a`. */
  text: string
  /** It goes with a session, and may be gone in a moment. */
  passes?: true
}

export interface SwapSet {
  /** In an order in which they can be made and refreshed: what reads another comes after it. */
  members: Member[]
  statistics: SetStatistics[]
  keys: SetKey[]
  /**
   * What is on views comes first, outermost views before what they read: the order in which a reader locks them. Each
   * `sql` stands for itself, in whatever order they run.
   */
  remade: Remade[]
  findings: DependencyFinding[]
}

/** The schemas that members and statistics lie in, sorted. */
export function schemasOf(set: Pick<SwapSet, 'members' | 'statistics'>): string[] {
  return [...new Set([...set.members, ...set.statistics].map(({ schema }) => schema))].toSorted()
}
