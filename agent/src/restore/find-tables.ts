import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { readTables, type TableInfo } from '../postgres/catalog.ts'
import { readForeignKeys, type ForeignKey } from '../postgres/foreign-keys.ts'
import { quoteTable } from '../postgres/quote.ts'
import type { Session } from '../postgres/session.ts'

export interface FoundTables {
  /** The job's tables by OID. */
  chosen: Map<number, TableInfo>
  /** The OIDs of those and of their partitioned ancestors: foreign keys and sequences may belong to those. */
  lineage: Set<number>
  /** The foreign keys from and to them, also of tables that the job does not touch. */
  keys: ForeignKey[]
  /** For LOCK TABLE: the job's tables, and those at the other end of a key, whose triggers change with it. */
  toLock: string[]
}

/** What a truncate changes in the target. Throws `schema-changed` when a table is not there any more. */
export async function findTables(session: Session, wanted: TableName[]): Promise<FoundTables> {
  const tables = await readTables(session)
  const byName = new Map(tables.map((table) => [formatTableName(table), table]))
  const byOid = new Map(tables.map((table) => [table.oid, table]))
  const chosen = new Map<number, TableInfo>()
  const lineage = new Set<number>()
  for (const name of wanted.map(formatTableName)) {
    const table = byName.get(name)
    if (!table) throw vanished(name)
    chosen.set(table.oid, table)
    for (
      let one: TableInfo | undefined = table;
      one;
      one = one.parentOid === null ? undefined : byOid.get(one.parentOid)
    ) {
      lineage.add(one.oid)
    }
  }
  const keys = (await readForeignKeys(session)).filter(
    (key) => key.parentOid === 0 && (lineage.has(key.tableOid) || lineage.has(key.referencedOid)),
  )
  const locked = new Set([...chosen.keys(), ...keys.flatMap((key) => [key.tableOid, key.referencedOid])])
  const toLock = [...locked].flatMap((oid) => lockName(byOid.get(oid)))
  return { chosen, lineage, keys, toLock }
}

/** A key of a partitioned table is one of its partitions too; one of a parent by INHERITS is its own alone. */
function lockName(table: TableInfo | undefined): string[] {
  if (!table) return []
  return [table.kind === 'p' ? quoteTable(table) : `only ${quoteTable(table)}`]
}

function vanished(name: string): SyncError {
  return new SyncError('schema-changed', `Table ${name} vanished from the target since the plan.`, {
    hint: 'Start the job again.',
  })
}
