import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { OpenedArchive } from '../../archive/archive-reader.ts'
import type { Target } from '../../postgres/open-target.ts'
import { quoteTable } from '../../postgres/quote.ts'
import { openSession, type Session } from '../../postgres/session.ts'
import { readTriggers } from '../../postgres/triggers.ts'
import { disableTriggers } from '../disable-triggers.ts'
import { runTogether } from '../run-together.ts'
import { readUncheckedConstraints } from '../unchecked-constraints.ts'
import { inAside } from './aside.ts'
import { loadRows, type StageRun } from './load-rows.ts'
import type { Staged } from './make-stage.ts'
import { dropSql, readStageIndexes, type StageIndex } from './stage-indexes.ts'

/** A stage that holds the rows, and what was taken off for the load. */
export interface LoadedStage extends Staged {
  /** Those of the biggest tables first. */
  indexes: StageIndex[]
  enableTriggers: (session: Session) => Promise<void>
  /** SQL that puts constraints back which hold for new rows only. */
  unchecked: string[]
}

/**
 * Takes off what would slow or change rows as they arrive (indexes, triggers, row security, what holds
 * for new rows only) and streams the archive's tables into their twins, several at once. Nobody else can see the stage, so
 * each step is a transaction of its own. `postData` is the archive's text of constraints. Throws as loadTables() does.
 */
export async function loadStage(
  target: Target,
  staged: Staged,
  archive: OpenedArchive,
  tables: ArchivedTable[],
  run: StageRun & { postData?: string },
): Promise<LoadedStage> {
  const { set, stage } = staged
  await using session = await openSession(target.database, { purpose: 'stage', signal: run.signal })
  const bytes = new Map(tables.map((table) => [formatTableName(inAside(stage, table)), table.bytes]))
  const oids = await readOids(session, [...stage.schemas.values()])
  const leaves = [...bytes.keys()].flatMap((name) => oids.get(name) ?? [])
  const enableTriggers = await disableTriggers(
    session,
    new Set(leaves),
    await readTriggers(session, [...stage.schemas.values()]),
  )
  const bytesOf = ({ schema, table }: StageIndex): number => bytes.get(formatTableName({ schema, name: table })) ?? 0
  const indexes = (await readStageIndexes(session, leaves)).toSorted((a, b) => bytesOf(b) - bytesOf(a))
  const sources = new Map([...stage.schemas].map(([schema, aside]) => [aside, schema]))
  const flags = set.members.filter(({ rowSecurity, forceRowSecurity }) => rowSecurity || forceRowSecurity)
  const unchecked = await readUncheckedConstraints(
    session,
    [...oids.values()],
    run.postData ?? '',
    (schema) => sources.get(schema) ?? schema,
  )
  await runTogether(session, [
    ...indexes.map(dropSql),
    ...unchecked.drop,
    // For a table's owner FORCE would filter the counts of the proof and forbid COPY.
    ...flags.map(
      (one) => `alter table ${quoteTable(inAside(stage, one))} disable row level security, no force row level security`,
    ),
  ])
  await session.close()
  await loadRows(target.database, archive, tables, (table) => inAside(stage, table), run)
  return { ...staged, indexes, enableTriggers, unchecked: unchecked.add }
}

/** By name as formatTableName() writes it. */
async function readOids(session: Session, schemas: string[]): Promise<Map<string, number>> {
  const rows = await session.query<{ oid: number; schema: string; name: string }>(
    `select c.oid::int8::float8 as oid, n.nspname::text as schema, c.relname::text as name
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where n.nspname = any ($1) and c.relkind in ('r', 'p')`,
    [schemas],
  )
  return new Map(rows.map((row) => [formatTableName(row), row.oid]))
}
