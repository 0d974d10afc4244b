import type { Session } from '../session.ts'
import { chooseMembers, componentsOf, depthsOf, feedsMatview, graphOf } from './choose-members.ts'
import { classifyDependants, tiesOf } from './dependants.ts'
import { dependantFindings } from './dependant-findings.ts'
import { readEdges } from './edges.ts'
import { keyFindings, readSetKeys } from './keys.ts'
import { matviewFindings } from './matview-findings.ts'
import { readRelations, type Relation } from './relations.ts'
import { readRemade, type RemadeRow } from './remade.ts'
import { readSetStatistics } from './statistics.ts'
import type { Member, Remade, SwapSet } from './swap-set.ts'
import { readTrees, relativesOf } from './trees.ts'
import { unlistedFindings } from './unlisted-findings.ts'

/*
 * Reads what a swap of tables has to do with, from the catalogues alone and in some ten queries however many tables there are.
 *
 * Promises: every object that points to a member, to its row type, indexes, constraints, sequences … is a member, a key,
 * remade or a finding; with no finding, the swap carries all of them. Walks by OID over pg_depend, and reads what
 * PostgreSQL does not record there.
 * Never: locks a table, writes, or remembers. What functions read whose bodies are text is not known to PostgreSQL nor
 * needs anything: they follow the name. What lies in our own schemas is no dependant.
 */

/** `tableOids`: the tables whose rows are replaced, without partitioned ones. The session's search_path is empty. */
export async function readSwapSet(session: Session, tableOids: number[]): Promise<SwapSet> {
  const trees = await readTrees(session, tableOids)
  const allEdges = await readEdges(session, trees.tables)
  const homes = new Set([...trees.tables, ...allEdges.flatMap((edge) => [edge.home, edge.refHome])])
  const relations = await readRelations(session, [...homes])
  const isOurs = (oid: number) => relations.get(oid)?.isOurs === true
  const edges = allEdges.filter((edge) => !isOurs(edge.home) && !isOurs(edge.refHome))

  const graph = graphOf(edges, trees.heirs, (oid) => relations.get(oid)?.kind === 'm')
  const depth = depthsOf(graph)
  const oids = chooseMembers(trees.tables, graph, (oid) => relations.get(oid)?.isTemporary === false)
  const ordered = inOrder(relations, oids, depth)
  const ties = [...tiesOf(edges, oids), ...trees.heirs.map(({ child, parent }) => ({ one: child, other: parent }))]
  const components = componentsOf(
    ordered.map(({ oid }) => oid),
    ties,
  )
  const members = ordered.map((relation) => memberOf(relation, components.get(relation.oid) ?? 0))

  // A table that is tied to the set but not in it has its finding already.
  const relatives = relativesOf(trees.tables, trees.heirs)
  const dependants = classifyDependants(edges, oids).filter(({ home }) => !relatives.has(home))
  const remade = await readRemade(session, dependants)
  // Whatever it is that is made again on a view, making it locks the view.
  const height = (row: RemadeRow) => (row.relationKind === 'v' ? depth(row.relationOid) : 0)
  const memberOids = [...oids]
  const keys = await readSetKeys(session, memberOids)
  const feeding = members.filter(({ oid, kind }) => 'vm'.includes(kind) && feedsMatview(oid, graph))
  return {
    members,
    statistics: await readSetStatistics(session, members),
    keys,
    remade: remade
      .filter((row) => !row.isTemporary)
      .toSorted((a, b) => height(b) - height(a) || rank(a) - rank(b) || (a.what < b.what ? -1 : 1))
      .map(remadeOf),
    findings: [
      ...trees.findings,
      ...keyFindings(session, keys),
      ...(await unlistedFindings(session, memberOids)),
      ...(await dependantFindings(session, { dependants, relations, remade })),
      ...(await matviewFindings(session, { feeding, edges, members: oids, relations })),
    ],
  }
}

/** Tables before views; then what others need before them, by name where it does not matter. */
function inOrder(
  relations: ReadonlyMap<number, Relation>,
  oids: ReadonlySet<number>,
  depth: (oid: number) => number,
): Relation[] {
  const found = [...relations.values()].filter(({ oid }) => oids.has(oid))
  const isView = (relation: Relation) => Number('vm'.includes(relation.kind))
  // The rows come sorted by name, and sorting keeps that.
  return found.toSorted((a, b) => isView(a) - isView(b) || depth(a.oid) - depth(b.oid))
}

function memberOf(relation: Relation, component: number): Member {
  const { oid, schema, name, kind, owner, isPopulated, rowSecurity, forceRowSecurity } = relation
  // A foreign table among them has a finding that forbids the swap.
  const asTable = kind === 'p' || kind === 'v' || kind === 'm' ? kind : 'r'
  return { oid, schema, name, kind: asTable, owner, component, isPopulated, rowSecurity, forceRowSecurity }
}

const kinds: readonly Remade['kind'][] = ['view', 'function', 'rule', 'policy', 'default']

function rank(row: RemadeRow): number {
  return kinds.indexOf(row.kind)
}

function remadeOf({ kind, what, owner, schema, relation, relationKind, relationOid, sql }: RemadeRow): Remade {
  const [relationSchema = '', name = ''] = relation
  return {
    kind,
    what,
    owner,
    schema,
    relation: relationOid === 0 ? undefined : { schema: relationSchema, name, kind: relationKind },
    sql,
  }
}
