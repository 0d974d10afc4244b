import type { Session } from '../session.ts'
import type { Deed, Dependant } from './dependants.ts'
import { nameIn, type Relation } from './relations.ts'
import type { RemadeRow } from './remade.ts'
import type { DependencyFinding } from './swap-set.ts'

interface Found {
  dependants: Dependant[]
  relations: ReadonlyMap<number, Relation>
  remade: RemadeRow[]
}

interface Identity {
  class: string
  oid: number
  column: number
  what: string
  extension: string | null
}

/** What forbids a swap among the objects outside the set that point into it. */
export async function dependantFindings(session: Session, found: Found): Promise<DependencyFinding[]> {
  const temporary = await temporaryFindings(session, found)
  const settled = found.dependants.filter(({ home }) => found.relations.get(home)?.isTemporary !== true)
  const identities = await readIdentities(session, settled)
  const findings = settled.flatMap((dependant) => {
    const identity = identities.get(keyOf(dependant))
    return identity === undefined ? [] : findingOf(dependant, identity, found)
  })
  return [...temporary, ...findings].toSorted((a, b) => (a.text < b.text ? -1 : 1))
}

function findingOf(dependant: Dependant, identity: Identity, { relations }: Found): DependencyFinding[] {
  const text = forbids[dependant.does]
  const member = nameIn(relations, dependant.member)
  if (text !== undefined) {
    const effect = dependant.does === 'unknown' ? 'refused' : 'in-place'
    return [{ effect, text: `${identity.what} ${text.replace('%', () => member)}` }]
  }
  const extension = relations.get(dependant.home)?.extension ?? identity.extension
  if (extension === null) return []
  const what = dependant.does === 'view' ? `view ${nameIn(relations, dependant.home)}` : identity.what
  return [{ effect: 'in-place', text: `${what} of extension ${extension} depends on ${member}` }]
}

/** Of what is carried there is no text. `%` is the member. */
const forbids: Readonly<Partial<Record<Deed, string>>> = {
  returns: 'returns the row type of %',
  takes: 'takes the row type of %',
  'uses type': 'uses the row type of %',
  from: 'is a constraint trigger from %',
  names: 'names % in an expression',
  unknown: 'depends on % in a way that is not known',
}

function keyOf(one: { class: string; oid: number; column: number }): string {
  return `${one.class} ${one.oid} ${one.column}`
}

/** In the server's own words, which are the same in all languages. */
async function readIdentities(session: Session, dependants: Dependant[]): Promise<Map<string, Identity>> {
  if (dependants.length === 0) return new Map()
  const rows = await session.query<Identity>(
    `select u.class, u.oid::int8::float8 as oid, u.column, i.type || ' ' || i.identity as what,
            (select e.extname::text from pg_depend d join pg_extension e on e.oid = d.refobjid
             where d.classid = u.class::regclass and d.objid = u.oid and d.refclassid = 'pg_extension'::regclass
               and d.deptype = 'e' limit 1) as extension
     from unnest($1::text[], $2::oid[], $3::int[]) as u(class, oid, "column")
     cross join lateral pg_identify_object(u.class::regclass, u.oid, u.column) as i`,
    [
      dependants.map((one) => `pg_catalog.${one.class}`),
      dependants.map((one) => one.oid),
      dependants.map((one) => one.column),
    ],
  )
  return new Map(rows.map((row) => [keyOf({ ...row, class: row.class.replace('pg_catalog.', '') }), row]))
}

/** Nobody else can make a temporary view again, and it would go on reading the old table. */
async function temporaryFindings(session: Session, found: Found): Promise<DependencyFinding[]> {
  const objects = new Map<string, { schema: string; what: string; member: number }>()
  for (const { home, member } of found.dependants) {
    const relation = found.relations.get(home)
    if (relation?.isTemporary !== true) continue
    const kind = relation.kind === 'v' ? 'view' : 'table'
    objects.set(`${home}`, { schema: relation.schema, what: `${kind} ${relation.name}`, member })
  }
  for (const row of found.remade.filter(({ isTemporary, kind }) => isTemporary && kind === 'function')) {
    const member = found.dependants.find((one) => one.class === 'pg_proc' && one.oid === row.oid)?.member ?? 0
    objects.set(row.what, { schema: row.schema, what: row.what, member })
  }
  if (objects.size === 0) return []
  const schemas = [...new Set([...objects.values()].map(({ schema }) => schema))]
  const pids = await readTemporaryOwners(session, schemas)
  return [...objects.values()].map(({ schema, what, member }) => {
    const pid = pids.get(schema)
    const who = pid === undefined ? `another session (${schema})` : `session ${pid}`
    return {
      effect: 'refused',
      text: `${who} holds the temporary ${what}, which depends on ${nameIn(found.relations, member)}`,
      passes: true,
    }
  })
}

/**
 * A temporary schema's number is its session's. Before 16 no function told the session of a number, and only one in a
 * transaction can be found, by its locks.
 */
async function readTemporaryOwners(session: Session, schemas: string[]): Promise<Map<string, number>> {
  const pid =
    session.serverVersion >= 160_000
      ? 'pg_stat_get_backend_pid(substring(u.schema from 9)::int)'
      : `(select l.pid from pg_locks l where l.virtualtransaction like substring(u.schema from 9) || '/%' limit 1)`
  const rows = await session.query<{ schema: string; pid: number | null }>(
    `select u.schema, ${pid} as pid from unnest($1::text[]) as u(schema)`,
    [schemas],
  )
  return new Map(rows.flatMap((row) => (row.pid === null ? [] : [[row.schema, row.pid]])))
}
