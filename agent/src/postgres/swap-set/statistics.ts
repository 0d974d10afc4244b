import type { Session } from '../session.ts'
import type { Member, SetStatistics } from './swap-set.ts'

interface StatisticsRow extends Omit<SetStatistics, 'table' | 'component'> {
  tableOid: number
}

/** The extended statistics objects of members, whatever schema they are in; by schema and name. */
export async function readSetStatistics(session: Session, members: Member[]): Promise<SetStatistics[]> {
  const byOid = new Map(members.map((member) => [member.oid, member]))
  const rows = await session.query<StatisticsRow>(
    `select s.oid::int8::float8 as oid, n.nspname::text as schema, s.stxname::text as name,
            s.stxrelid::int8::float8 as "tableOid", pg_get_statisticsobjdef(s.oid) as definition,
            nullif(s.stxstattarget, -1)::int as target, pg_get_userbyid(s.stxowner)::text as owner,
            obj_description(s.oid, 'pg_statistic_ext') as comment
     from pg_statistic_ext s
     join pg_namespace n on n.oid = s.stxnamespace
     where s.stxrelid = any($1::oid[])
     order by n.nspname collate "C", s.stxname collate "C"`,
    [[...byOid.keys()]],
  )
  return rows.flatMap(({ tableOid, ...row }) => {
    const member = byOid.get(tableOid)
    if (member === undefined) return []
    return [{ ...row, table: { schema: member.schema, name: member.name }, component: member.component }]
  })
}
