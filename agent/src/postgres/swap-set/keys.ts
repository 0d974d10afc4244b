import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { userSchemas } from '../catalog.ts'
import type { Session } from '../session.ts'
import type { DependencyFinding, SetKey } from './swap-set.ts'

interface KeyRow extends Omit<SetKey, 'table' | 'referenced' | 'side' | 'head' | 'tail' | 'makeTail'> {
  /** The index is that of the primary key, with the columns in the same order. */
  isOfPrimaryKey: boolean
  table: string[]
  referenced: string[]
}

/**
 * The foreign keys with a member at one end or both, but for those that partitions have from their parents, by table and
 * name. Keys of our own schemas (tables kept for an undo) are not among them.
 */
export async function readSetKeys(session: Session, memberOids: number[]): Promise<SetKey[]> {
  const members = new Set(memberOids)
  const rows = await session.query<KeyRow>(keysSql(session.serverVersion >= 180_000), [memberOids])
  return rows.map(({ isOfPrimaryKey, ...row }) => ({
    ...row,
    table: tableName(row.table),
    referenced: tableName(row.referenced),
    side: !members.has(row.tableOid) ? 'inbound' : members.has(row.referencedOid) ? 'inner' : 'outbound',
    ...splitKey(row.definition, isOfPrimaryKey),
  }))
}

/**
 * Before 18 a partitioned table cannot have a key that is NOT VALID: all its rows would be checked under the locks of the
 * swap, which makes the keys into its tables again. Keys that lead outside are made, whole, before those locks.
 */
export function keyFindings(session: Session, keys: SetKey[]): DependencyFinding[] {
  if (session.serverVersion >= 180_000) return []
  return keys
    .filter(({ side, tableKind }) => side === 'inbound' && tableKind === 'p')
    .map(({ table, referenced }) => {
      const [from, to] = [formatTableName(table), formatTableName(referenced)]
      const text = `partitioned table ${from} references ${to}, and its key could not be checked later`
      return { effect: 'in-place', text }
    })
}

function tableName([schema = '', name = '']: string[]): TableName {
  return { schema, name }
}

const NAME = String.raw`(?:"(?:[^"]|"")+"|[^\s".()]+)`
const KEY = new RegExp(
  String.raw`^(FOREIGN KEY \((?:[^"()]|"(?:[^"]|"")+")*\) REFERENCES )${NAME}\.${NAME}(\(.*)$`,
  's',
)

const COLUMNS = /^\((?:[^"()]|"(?:[^"]|"")+")*\)/

/** pg_get_constraintdef() of a foreign key, before and after the name of the table that it references. */
function splitKey(definition: string, isOfPrimaryKey: boolean): Pick<SetKey, 'head' | 'tail' | 'makeTail'> {
  const [, head, tail] = KEY.exec(definition) ?? []
  if (head === undefined || tail === undefined) throw new Error('the text of a foreign key has another form')
  return { head, tail, makeTail: isOfPrimaryKey ? tail.replace(COLUMNS, '') : tail }
}

const keysSql = (has18: boolean) => `
select k.oid::int8::float8 as oid, k.conname::text as name,
       k.conrelid::int8::float8 as "tableOid", array[n.nspname, c.relname]::text[] as "table",
       c.relkind::text as "tableKind",
       k.confrelid::int8::float8 as "referencedOid", array[rn.nspname, r.relname]::text[] as referenced,
       pg_get_constraintdef(k.oid) as definition, k.conparentid::int8::float8 as "parentOid",
       k.condeferrable as deferrable, k.condeferred as "initiallyDeferred", k.convalidated as validated,
       obj_description(k.oid, 'pg_constraint') as comment,
       ${has18 ? 'k.conenforced' : 'true'} as enforced, ${has18 ? 'k.conperiod' : 'false'} as "hasPeriod",
       k.confmatchtype = 'f' as "matchFull", i.relname::text as index,
       p.indisprimary and ${has18 ? 'not k.conperiod and ' : ''}k.confkey = (p.indkey::int2[])[0:p.indnkeyatts - 1] as "isOfPrimaryKey",
       (select json_agg(json_build_object(
          'name', a.attname,
          'referenced', ra.attname,
          'operator', format('operator(%I.%s)', o_n.nspname, o.oprname),
          'collation', case when ra.attcollation <> 0 and a.attcollation <> 0 and ra.attcollation <> a.attcollation
                            then format(' collate %I.%I', l_n.nspname, l.collname) else '' end
        ) order by u.place)
        from unnest(k.conkey, k.confkey, k.conpfeqop) with ordinality as u(attnum, "refAttnum", operator, place)
        join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum
        join pg_attribute ra on ra.attrelid = k.confrelid and ra.attnum = u."refAttnum"
        join pg_operator o on o.oid = u.operator
        join pg_namespace o_n on o_n.oid = o.oprnamespace
        left join pg_collation l on l.oid = ra.attcollation
        left join pg_namespace l_n on l_n.oid = l.collnamespace) as columns
from pg_constraint k
join pg_class c on c.oid = k.conrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_class r on r.oid = k.confrelid
join pg_namespace rn on rn.oid = r.relnamespace
join pg_class i on i.oid = k.conindid
join pg_index p on p.indexrelid = i.oid
where k.contype = 'f' and k.conparentid = 0 and (k.conrelid = any($1::oid[]) or k.confrelid = any($1::oid[]))
  and ${userSchemas} and ${userSchemas.replaceAll('n.nspname', 'rn.nspname')}
order by n.nspname collate "C", c.relname collate "C", k.conname collate "C"`
