import type { Session } from '../session.ts'
import type { Edge } from './edges.ts'
import { nameIn, type Relation } from './relations.ts'
import type { DependencyFinding, Member } from './swap-set.ts'

interface Feeding {
  /** The materialized views of the set, and the views that they read. */
  feeding: Member[]
  edges: Edge[]
  members: ReadonlySet<number>
  relations: ReadonlyMap<number, Relation>
}

/**
 * The twin of a materialized view is filled on the stage: its query must read the staged tables and nothing else in their
 * place. A function reads the tables that are live.
 */
export async function matviewFindings(session: Session, found: Feeding): Promise<DependencyFinding[]> {
  return [...throughFunctions(found), ...(await unstableFunctions(session, found))]
}

/** Materialized views that read a member through a function with an SQL-standard body. */
function throughFunctions({ edges, members, relations }: Feeding): DependencyFinding[] {
  const dependantsOf = Map.groupBy(edges, (edge) => (edge.refHome === 0 ? edge.refOid : edge.refHome))
  // The OID of what is reached, and whether a function lies on the way.
  const reached = new Map<string, { oid: number; through: string | undefined; from: number }>()
  const reach = (oid: number, through: string | undefined, from: number) => {
    const key = `${oid} ${through !== undefined}`
    if (!reached.has(key)) reached.set(key, { oid, through, from })
  }
  for (const oid of members) reach(oid, undefined, oid)
  for (const { oid, through, from } of reached.values()) {
    for (const edge of dependantsOf.get(oid) ?? []) {
      if (edge.class === 'pg_rewrite' && edge.detail === 'view') reach(edge.home, through, from)
      if (edge.class === 'pg_proc' || edge.class === 'pg_operator') reach(edge.oid, 'a function', from)
    }
  }
  return [...reached.values()].flatMap(({ oid, through, from }) => {
    const relation = relations.get(oid)
    if (through === undefined || relation?.kind !== 'm' || !relation.isPopulated) return []
    const text = `materialized view ${nameIn(relations, oid)} reads ${nameIn(relations, from)} through a function`
    return [{ effect: 'in-place', text }]
  })
}

/** What an immutable function reads is nobody's table, unless it lies; an extension's functions read none of the user's. */
async function unstableFunctions(session: Session, { feeding, relations }: Feeding): Promise<DependencyFinding[]> {
  const asked = feeding.filter(({ kind, isPopulated }) => kind === 'v' || isPopulated).map(({ oid }) => oid)
  if (asked.length === 0) return []
  const rows = await session.query<{ relation: number; what: string }>(
    `with recursive used (relation, classid, objid) as (
       select w.ev_class, d.refclassid, d.refobjid
       from pg_rewrite w
       join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.deptype = 'n'
       where w.ev_class = any($1::oid[]) and w.rulename = '_RETURN'
         and d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass)
       union
       select u.relation, d.refclassid, d.refobjid
       from used u
       join pg_depend d on d.classid = u.classid and d.objid = u.objid and d.deptype = 'n'
       where d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass)
     )
     select distinct u.relation::int8::float8 as relation, i.identity as what
     from used u
     join pg_proc p on p.oid = u.objid and u.classid = 'pg_proc'::regclass
     cross join lateral pg_identify_object(u.classid, u.objid, 0) as i
     where p.provolatile <> 'i'
       and not exists (select from pg_depend e
                       where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype = 'e')
     order by 1, 2`,
    [asked],
  )
  return rows.map(({ relation, what }) => {
    const kind = relations.get(relation)?.kind === 'm' ? 'materialized view' : 'view'
    const text = `${kind} ${nameIn(relations, relation)} calls ${what}, which is not immutable and may read the live tables`
    return { effect: 'in-place', text }
  })
}
