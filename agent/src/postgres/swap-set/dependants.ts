import type { Edge } from './edges.ts'

/*
 * What to do with each object outside the set that points into it. Carried is what a statement of its own points to the
 * new relations; anything that would keep the row type of the old ones forbids the swap, and so does the unknown.
 */

export interface Dependant {
  class: string
  oid: number
  /** Of a relation's column; else 0. */
  column: number
  /** The relation that it is a part of; 0 for none. */
  home: number
  /** The member that it points to. */
  member: number
  does: Deed
}

export type Deed =
  | 'view'
  | 'function'
  | 'rule'
  | 'policy'
  | 'default'
  | 'domain default'
  /** In-place: it would keep the row type of the old table. */
  | 'returns'
  | 'takes'
  | 'uses type'
  /** In-place: a constraint trigger FROM a member. */
  | 'from'
  /** In-place: an expression that no single statement makes again. */
  | 'names'
  | 'unknown'

/** One answer for each object, the strictest of those that its edges give. */
export function classifyDependants(edges: Edge[], members: ReadonlySet<number>): Dependant[] {
  const found = new Map<string, Dependant>()
  for (const edge of edges) {
    if (!members.has(edge.refHome) || members.has(edge.home)) continue
    const does = classify(edge)
    if (does === undefined) continue
    const key = `${edge.class} ${edge.oid} ${edge.column}`
    const known = found.get(key)
    if (known !== undefined && strictness(known.does) >= strictness(does)) continue
    found.set(key, {
      class: edge.class,
      oid: edge.oid,
      column: edge.column,
      home: edge.home,
      member: edge.refHome,
      does,
    })
  }
  return [...found.values()]
}

/** Pairs of members that one statement makes together: no transaction may stage one without the other. */
export function tiesOf(edges: Edge[], members: ReadonlySet<number>): { one: number; other: number }[] {
  return edges
    .filter((edge) => members.has(edge.home) && members.has(edge.refHome) && edge.home !== edge.refHome)
    .filter((edge) => !isOfKey(edge))
    .map((edge) => ({ one: edge.home, other: edge.refHome }))
}

/** Foreign keys are read apart; their triggers come and go with them. */
function isOfKey(edge: Edge): boolean {
  return (
    (edge.class === 'pg_constraint' && edge.detail === 'f') || (edge.class === 'pg_trigger' && edge.detail === 'key')
  )
}

function classify(edge: Edge): Deed | undefined {
  if (isOfKey(edge)) return undefined
  const isType = edge.refClass === 'pg_type'
  switch (edge.class) {
    // Publications are read apart, with those that pg_depend does not know.
    case 'pg_publication_rel':
      return undefined
    case 'pg_rewrite':
      return edge.detail === 'view' ? 'view' : 'rule'
    case 'pg_policy':
      return 'policy'
    case 'pg_attrdef':
      return edge.detail === '' ? 'default' : isType ? 'uses type' : 'names'
    case 'pg_proc':
      if (edge.detail === 'returns' || edge.detail === 'takes') return edge.detail
      return 'function'
    case 'pg_type':
      return isType ? 'uses type' : edge.detail === 'd' ? 'domain default' : 'unknown'
    case 'pg_trigger':
      return isType ? 'uses type' : edge.detail === 'from' ? 'from' : 'names'
    case 'pg_constraint':
    case 'pg_class':
    case 'pg_statistic_ext':
      return isType ? 'uses type' : 'names'
    default:
      return isType ? 'uses type' : 'unknown'
  }
}

/** Of several reasons the plainest is told. */
function strictness(deed: Deed): number {
  if (deed === 'unknown') return 3
  if (deed === 'returns' || deed === 'takes' || deed === 'uses type') return 2
  return deed === 'from' || deed === 'names' ? 1 : 0
}
