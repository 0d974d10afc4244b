import { quoteIdent, quoteTable } from '../postgres/quote.ts'
import type { Session } from '../postgres/session.ts'
import type { Trigger } from '../postgres/triggers.ts'
import { runTogether } from './run-together.ts'

/** ALTER TABLE's word for pg_trigger.tgenabled. */
const ENABLE: Record<string, string> = { O: 'enable', R: 'enable replica', A: 'enable always', D: 'disable' }

/**
 * Silences the tables' own triggers; the returned function gives each of them the state that it had, in any session.
 * `triggers` are all that there are, also those of partitioned ancestors and of their other partitions.
 */
export async function disableTriggers(
  session: Session,
  tableOids: ReadonlySet<number>,
  triggers: Trigger[],
): Promise<(session: Session) => Promise<void>> {
  const all = new Map(triggers.map((trigger) => [trigger.oid, trigger]))
  // On 13 and 14 only a superuser may change a partition's copy alone: there the partitioned table's own is changed.
  const changeable = (trigger: Trigger): Trigger => {
    const parent = trigger.isInternal ? all.get(trigger.parentOid) : undefined
    return parent ? changeable(parent) : trigger
  }
  const changed = new Set([...all.values()].filter((trigger) => tableOids.has(trigger.tableOid)).map(changeable))
  // What was done to a partitioned table's trigger was done to all its copies: those with a state of their own get it back.
  const odd = [...all.values()].filter((copy) => {
    const root = changeable(copy)
    return root !== copy && changed.has(root) && copy.enabled !== root.enabled
  })
  await runTogether(
    session,
    [...changed].map((trigger) => alterSql('disable', trigger)),
  )
  return async (later) =>
    await runTogether(
      later,
      [...changed, ...odd].map((trigger) => alterSql(ENABLE[trigger.enabled] ?? 'enable', trigger)),
    )
}

function alterSql(action: string, { schema, table, name }: Trigger): string {
  return `alter table ${quoteTable({ schema, name: table })} ${action} trigger ${quoteIdent(name)}`
}
