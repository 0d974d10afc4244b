import { userSchemas } from './catalog.ts'
import type { Session } from './session.ts'

export interface Trigger {
  oid: number
  name: string
  tableOid: number
  schema: string
  table: string
  /** pg_trigger.tgenabled: origin, disabled, replica, always. */
  enabled: 'O' | 'D' | 'R' | 'A'
  /** The trigger of the partitioned table that this one follows; 0 when it stands for itself. */
  parentOid: number
  /**
   * True for a partition's copy on 13 and 14, where only a superuser may change its state alone. Changing the state of
   * the partitioned table's own trigger changes all copies.
   */
  isInternal: boolean
}

/**
 * Condition over `t` (pg_trigger): made by a user, or a partition's copy of such a one. Copies count as internal before
 * 15, as the triggers of foreign keys always do.
 */
export const userTriggers = `(not t.tgisinternal or t.tgparentid <> 0
  and not exists (select from pg_constraint k where k.oid = t.tgconstraint and k.contype <> 't'))`

/** Triggers that users made, without those of constraints, on tables of user schemas or of those given; by table and name. */
export async function readTriggers(session: Session, schemas?: string[]): Promise<Trigger[]> {
  return await session.query<Trigger>(
    `
    select t.oid::int8::float8 as oid, t.tgname::text as name, t.tgrelid::int8::float8 as "tableOid",
           n.nspname::text as schema, c.relname::text as "table", t.tgenabled::text as enabled,
           t.tgparentid::int8::float8 as "parentOid",
           t.tgisinternal as "isInternal"
    from pg_trigger t
    join pg_class c on c.oid = t.tgrelid
    join pg_namespace n on n.oid = c.relnamespace
    where ${userTriggers} and ${schemas === undefined ? userSchemas : 'n.nspname = any ($1)'}
    order by n.nspname collate "C", c.relname collate "C", t.tgname collate "C"`,
    schemas === undefined ? [] : [schemas],
  )
}
