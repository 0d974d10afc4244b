import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { Target } from '../../postgres/open-target.ts'
import { quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import { readTriggers } from '../../postgres/triggers.ts'
import { disableTriggers } from '../disable-triggers.ts'
import { runTogether } from '../run-together.ts'
import { readUncheckedConstraints } from '../unchecked-constraints.ts'
import { inAside } from './aside.ts'
import type { Staged } from './make-stage.ts'
import { dropSql, readIndexSizes, readStageIndexes, type IndexSize, type StageIndex } from './stage-indexes.ts'

/** A stage that is ready for rows, and what was taken off for them. */
export interface PreparedStage extends Staged {
  indexes: StageIndex[]
  /** Of the live tables' indexes. */
  liveSizes: IndexSize[]
  enableTriggers: (session: Session) => Promise<void>
  /** SQL that puts constraints back which hold for new rows only. */
  unchecked: string[]
  trees: StageTree[]
}

/** A table of the stage that is no partition, with what inherits from it, itself first. Stage names. */
export interface StageTree {
  root: TableName
  members: (TableName & { isPartition: boolean })[]
}

/**
 * Takes off the stage what would slow or change rows as they arrive: indexes, triggers, row security, what holds for new
 * rows only. Nobody else can see the stage, so each step is a transaction of its own. `tables` are those that get rows,
 * under their live names; `postData` is the archive's text of constraints.
 */
export async function prepareStage(
  target: Target,
  staged: Staged,
  tables: TableName[],
  postData = '',
): Promise<PreparedStage> {
  const { set, stage } = staged
  const schemas = [...stage.schemas.values()]
  const { session } = target
  const oids = await readOids(session, schemas)
  const leaves = tables.flatMap((table) => oids.get(formatTableName(inAside(stage, table))) ?? [])
  const enableTriggers = await disableTriggers(session, new Set(leaves), await readTriggers(session, schemas))
  const indexes = await readStageIndexes(session, leaves)
  const liveSizes = await readIndexSizes(session, [...stage.schemas.keys()])
  const sources = new Map([...stage.schemas].map(([schema, aside]) => [aside, schema]))
  const flags = set.members.filter(({ rowSecurity, forceRowSecurity }) => rowSecurity || forceRowSecurity)
  const unchecked = await readUncheckedConstraints(
    session,
    [...oids.values()],
    postData,
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
  const trees = await readTrees(session, schemas)
  return { ...staged, indexes, liveSizes, enableTriggers, unchecked: unchecked.add, trees }
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

async function readTrees(session: Session, schemas: string[]): Promise<StageTree[]> {
  const rows = await session.query<TableName & { root: number; isRoot: boolean; isPartition: boolean }>(TREES_SQL, [
    schemas,
  ])
  return [...Map.groupBy(rows, ({ root }) => root).values()].flatMap((members) => {
    const root = members.find(({ isRoot }) => isRoot)
    return root ? [{ root, members }] : []
  })
}

const TREES_SQL = `
with recursive tree as (
  select c.oid as root, c.oid
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname = any ($1) and c.relkind in ('r', 'p') and not c.relispartition
  union
  select t.root, i.inhrelid from tree t join pg_catalog.pg_inherits i on i.inhparent = t.oid
)
select t.root::int8::float8 as root, t.root = t.oid as "isRoot", c.relispartition as "isPartition",
       n.nspname::text as schema, c.relname::text as name
from tree t
join pg_catalog.pg_class c on c.oid = t.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace`
