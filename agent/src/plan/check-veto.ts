import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Session } from '../postgres/session.ts'
import type { SwapSet } from '../postgres/swap-set/swap-set.ts'

const SCHEMA = 'multiboard_sync_veto'

/** What every swap does, in the order in which it can be tried. Nothing of it is ever committed. */
const ALWAYS: [tag: string, sql: string][] = [
  ['CREATE SCHEMA', `create schema ${SCHEMA}`],
  ['CREATE SCHEMA', `create schema ${SCHEMA}_2`],
  ['COMMENT', `comment on schema ${SCHEMA} is 'tried and rolled back'`],
  ['REVOKE', `revoke all on schema ${SCHEMA} from public`],
  ['CREATE TABLE', `create table ${SCHEMA}.t (a integer not null, b integer)`],
  ['CREATE INDEX', `create unique index i on ${SCHEMA}.t (a)`],
  ['ALTER TABLE', `alter table ${SCHEMA}.t add constraint i primary key using index i`],
  ['ALTER TABLE', `alter table ${SCHEMA}.t add constraint f foreign key (b) references ${SCHEMA}.t not valid`],
  ['ALTER TABLE', `alter table ${SCHEMA}.t validate constraint f`],
  ['ALTER TABLE', `alter table ${SCHEMA}.t set schema ${SCHEMA}_2`],
]

const FINALLY: [tag: string, sql: string][] = [
  ['ALTER TABLE', `alter table ${SCHEMA}_2.t drop constraint f`],
  ['DROP TABLE', `drop table ${SCHEMA}_2.t`],
  ['DROP SCHEMA', `drop schema ${SCHEMA}`],
]

/** What a swap does only where there is such an object. */
const SOMETIMES: Record<string, [tag: string, sql: string][]> = {
  view: [
    ['CREATE VIEW', `create or replace view ${SCHEMA}_2.v as select a from ${SCHEMA}_2.t`],
    ['DROP VIEW', `drop view ${SCHEMA}_2.v`],
  ],
  m: [
    ['CREATE MATERIALIZED VIEW', `create materialized view ${SCHEMA}_2.m as select a from ${SCHEMA}_2.t with no data`],
    ['REFRESH MATERIALIZED VIEW', `refresh materialized view ${SCHEMA}_2.m`],
    ['ALTER MATERIALIZED VIEW', `alter materialized view ${SCHEMA}_2.m set schema ${SCHEMA}`],
    ['DROP MATERIALIZED VIEW', `drop materialized view ${SCHEMA}.m`],
  ],
  function: [
    ['CREATE FUNCTION', `create function ${SCHEMA}_2.f() returns integer language sql as 'select 1'`],
    ['DROP FUNCTION', `drop function ${SCHEMA}_2.f()`],
  ],
  rule: [
    ['CREATE RULE', `create or replace rule r as on insert to ${SCHEMA}_2.t do nothing`],
    ['DROP RULE', `drop rule r on ${SCHEMA}_2.t`],
  ],
  policy: [
    ['CREATE POLICY', `create policy p on ${SCHEMA}_2.t`],
    ['ALTER POLICY', `alter policy p on ${SCHEMA}_2.t using (true)`],
  ],
  statistics: [
    ['CREATE STATISTICS', `create statistics ${SCHEMA}_2.s on a, b from ${SCHEMA}_2.t`],
    ['ALTER STATISTICS', `alter statistics ${SCHEMA}_2.s set schema ${SCHEMA}`],
  ],
}

/**
 * Event triggers run for every statement of ours that defines something, and may refuse it. Where there are any, such
 * statements are tried on objects of our own, in a transaction that is rolled back. Throws `unsupported-object`.
 */
export async function checkVeto(session: Session, set: SwapSet): Promise<void> {
  const triggers = await session.query<{ name: string }>(
    `select evtname::text as name from pg_catalog.pg_event_trigger
     where evtenabled in ('O', 'A') and evtevent in ('ddl_command_start', 'ddl_command_end', 'sql_drop', 'table_rewrite')
     order by 1`,
  )
  if (triggers.length === 0) return
  const kinds = [
    ...set.remade.map(({ kind }) => kind),
    ...set.members.map(({ kind }) => (kind === 'v' ? 'view' : kind)),
    ...(set.statistics.length > 0 ? ['statistics'] : []),
  ]
  const sometimes = [...new Set(kinds)].flatMap((kind) => SOMETIMES[kind] ?? [])
  await session.run('begin')
  try {
    for (const [tag, sql] of [...ALWAYS, ...sometimes, ...FINALLY]) await attempt(session, tag, sql, triggers)
  } finally {
    await session.run('rollback')
  }
}

async function attempt(session: Session, tag: string, sql: string, triggers: { name: string }[]): Promise<void> {
  try {
    await session.run(sql)
  } catch (error) {
    if (error instanceof SyncError && error.code === 'connection-lost') throw error
    throw new SyncError('unsupported-object', `An event trigger of "${session.database}" refuses ${tag}.`, {
      hint: "Let the agent's role pass in the function of the event trigger, or ask for the engine truncate.",
      details: triggers.map(({ name }) => `event trigger ${name} runs for definitions`),
      cause: error,
    })
  }
}
