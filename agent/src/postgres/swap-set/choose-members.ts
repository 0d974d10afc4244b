import type { Edge } from './edges.ts'

/** What reads what, and what has whose row type: relation by relation. */
interface Graph {
  /** Views and materialized views, by what they read. */
  readersOf: ReadonlyMap<number, ReadonlySet<number>>
  /** Views and materialized views with a column of the row type (or an array of it), by the type's relation. */
  typedOf: ReadonlyMap<number, ReadonlySet<number>>
  /** What must be there before a relation can be made. */
  needs: ReadonlyMap<number, ReadonlySet<number>>
  isMatview: (oid: number) => boolean
}

export function graphOf(
  edges: Edge[],
  heirs: { child: number; parent: number }[],
  isMatview: (oid: number) => boolean,
): Graph {
  const readersOf = new Map<number, Set<number>>()
  const typedOf = new Map<number, Set<number>>()
  const needs = new Map<number, Set<number>>()
  for (const edge of edges) {
    if (edge.home === 0 || edge.refHome === 0 || edge.home === edge.refHome) continue
    if (isReading(edge)) add(readersOf, edge.refHome, edge.home)
    if (isTyped(edge) && 'vm'.includes(edge.detail)) add(typedOf, edge.refHome, edge.home)
    if (isReading(edge) || isTyped(edge)) add(needs, edge.home, edge.refHome)
  }
  for (const { child, parent } of heirs) add(needs, child, parent)
  return { readersOf, typedOf, needs, isMatview }
}

function isReading(edge: Edge): boolean {
  return edge.class === 'pg_rewrite' && edge.detail === 'view'
}

function isTyped(edge: Edge): boolean {
  return edge.class === 'pg_class' && edge.column > 0 && edge.refClass === 'pg_type'
}

/**
 * The tables and the twins: views whose columns cannot be re-made in place (CREATE OR REPLACE changes no type), every
 * materialized view whose rows come from a member, and the plain views in between, which the twin of the materialized view
 * must read on the stage. `mayBeTwin` leaves out what is never one.
 */
export function chooseMembers(tables: number[], graph: Graph, mayBeTwin: (oid: number) => boolean): Set<number> {
  const members = new Set(tables)
  for (const oid of members) {
    // A set walks over what is added on the way.
    for (const typed of graph.typedOf.get(oid) ?? []) if (mayBeTwin(typed)) members.add(typed)
    for (const reader of graph.readersOf.get(oid) ?? []) {
      if (mayBeTwin(reader) && feedsMatview(reader, graph)) members.add(reader)
    }
  }
  return members
}

/** Whether it is a materialized view, or one reads it, directly or through views. */
export function feedsMatview(oid: number, graph: Graph): boolean {
  const above = new Set([oid])
  for (const one of above) {
    if (graph.isMatview(one)) return true
    for (const reader of graph.readersOf.get(one) ?? []) above.add(reader)
  }
  return false
}

/** How many relations stand below one, in the longest line: what is made in this order finds what it needs. */
export function depthsOf(graph: Graph): (oid: number) => number {
  const depths = new Map<number, number>()
  const depth = (oid: number): number => {
    const known = depths.get(oid)
    if (known !== undefined) return known
    // Two tables may have columns of each other's row type only when one was changed later: then the order is open.
    depths.set(oid, 0)
    const below = [...(graph.needs.get(oid) ?? [])].map((one) => depth(one) + 1)
    const found = Math.max(0, ...below)
    depths.set(oid, found)
    return found
  }
  return depth
}

/** The number of each member's component, counted in the members' order. Foreign keys tie nothing. */
export function componentsOf(members: number[], ties: { one: number; other: number }[]): Map<number, number> {
  const neighbours = new Map<number, Set<number>>()
  for (const { one, other } of ties) {
    add(neighbours, one, other)
    add(neighbours, other, one)
  }
  const components = new Map<number, number>()
  let next = 0
  for (const member of members) {
    if (components.has(member)) continue
    const component = new Set([member])
    for (const one of component) {
      components.set(one, next)
      for (const other of neighbours.get(one) ?? []) component.add(other)
    }
    next += 1
  }
  return components
}

function add(sets: Map<number, Set<number>>, key: number, value: number): void {
  const set = sets.get(key)
  if (set === undefined) sets.set(key, new Set([value]))
  else set.add(value)
}
