import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import type { TableProof } from '@multiboard-sync/shared/plan'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { allOf, type Door, type Lanes } from '../../lanes/lanes.ts'
import { readFingerprint } from '../../postgres/fingerprint.ts'
import { readForeignKeys } from '../../postgres/foreign-keys.ts'
import { quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import { compareRows, type Found } from '../prove.ts'
import type { Reporter } from '../../report/reporter.ts'
import { refreshSql } from '../refresh-sql.ts'
import { runTogether } from '../run-together.ts'
import { findOrphans } from '../swap/orphans.ts'
import { inAside } from './aside.ts'
import { again } from './once.ts'
import type { PreparedStage } from './prepare-stage.ts'

export interface ToProve {
  /** What the rows are to be. */
  tables: ArchivedTable[]
  /** What fillStage() has found. */
  found: Map<string, Found>
}

/**
 * Proves that the stage is what is to become live: rows and checksum of every table, no row that a foreign key to or from
 * a table outside would forbid. Then what must come after counting: row security, and materialized views, which are
 * filled as their owners see the tables. Last the definitions: those of the live tables when the stage was made.
 * Throws `proof-failed`, `constraint-violated` with the keys, `internal` when the definitions are not the same.
 */
export async function proveStage(
  filled: PreparedStage,
  { tables, found: rows }: ToProve,
  run: { lanes: Lanes; door: Door; reporter: Reporter },
): Promise<TableProof[]> {
  const { set, stage, fingerprint } = filled
  const { lanes, door, reporter } = run
  const place = (table: TableName): TableName => inAside(stage, table)
  reporter.phase('proving')
  const proof = compareRows(tables, rows, reporter)

  const work = { door, reporter, signal: lanes.signal }
  const onLane = async <T>(name: string, task: (session: Session) => Promise<T>): Promise<T> =>
    await lanes.run({ kind: 'key', name, urgency: 0 }, async (lane) => await again(lane, work, name, task))
  const outer = set.keys.filter(({ side }) => side !== 'inner')
  const found = await allOf(
    outer.map(async (key) => await onLane(key.name, async (session) => await findOrphans(session, [key], place))),
  )
  const orphans = found.flat()
  if (orphans.length > 0) {
    throw new SyncError('constraint-violated', 'Rows would violate foreign keys to or from tables outside this job.', {
      hint: 'Nothing was changed. Take the other tables into the job, or mend their rows.',
      details: orphans.toSorted(),
    })
  }
  const wrong = await onLane('definitions', async (session) => {
    await turnRowSecurityOn(session, filled)
    for (const member of set.members) {
      if (member.kind !== 'm' || !member.isPopulated) continue
      reporter.progress({ table: formatTableName(member) })
      await session.run(refreshSql(place(member)))
      await session.run(`analyze ${quoteTable(place(member))}`)
    }
    const schemas = [...stage.schemas.values()]
    const definitions = await readFingerprint(session, { keys: 'none', within: { schemas } })
    const isSame = definitions.sha256 === fingerprint
    return [...(isSame ? [] : ['definitions of the stage']), ...(await differentKeys(session, filled))]
  })
  if (wrong.length > 0) {
    throw new SyncError('schema-changed', 'The tables made beside the live ones are not what these were.', {
      hint: 'Nothing was changed. Use the engine merge, and report this as a bug.',
      details: wrong,
    })
  }
  return proof
}

async function turnRowSecurityOn(session: Session, { set, stage }: PreparedStage): Promise<void> {
  const statements = set.members.flatMap((member) => {
    const flags = [
      ...(member.rowSecurity ? ['enable row level security'] : []),
      ...(member.forceRowSecurity ? ['force row level security'] : []),
    ]
    return flags.length === 0 ? [] : [`alter table ${quoteTable(inAside(stage, member))} ${flags.join(', ')}`]
  })
  await runTogether(session, statements)
}

/** Foreign keys within the set, one by one: the definition that the live one has, but for the referenced table's name. */
async function differentKeys(session: Session, { set, stage }: PreparedStage): Promise<string[]> {
  const staged = await readForeignKeys(session, [...stage.schemas.values()])
  const found = new Map(staged.map((key) => [JSON.stringify([formatTableName(key.table), key.name]), key]))
  return set.keys
    .filter(({ side }) => side === 'inner')
    .filter((key) => {
      const twin = found.get(JSON.stringify([formatTableName(inAside(stage, key.table)), key.name]))
      const isSame =
        twin !== undefined &&
        formatTableName(twin.referenced) === formatTableName(inAside(stage, key.referenced)) &&
        twin.definition.startsWith(key.head) &&
        twin.definition.endsWith(key.tail) &&
        twin.deferrable === key.deferrable &&
        twin.initiallyDeferred === key.initiallyDeferred &&
        twin.validated === key.validated &&
        twin.comment === key.comment
      return !isSame
    })
    .map((key) => `foreign key ${formatTableName(key.table)} "${key.name}"`)
}
