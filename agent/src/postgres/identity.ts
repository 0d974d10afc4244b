import type { Session } from './session.ts'

/** Which database this is, however it was reached. */
export interface DatabaseIdentity {
  /** Made by initdb; copied by physical replication, so a standby has its primary's. */
  systemIdentifier: string
  databaseOid: number
  databaseName: string
  /** server_version_num: 180004. */
  serverVersion: number
  encoding: string
  isInRecovery: boolean
  /** True when writes are refused here whatever our session says: a standby, or set so for the database or the role. */
  isReadOnly: boolean
}

/** Throws SyncError `permission-denied` where a managed server hides pg_control_system(). */
export async function readIdentity(session: Session): Promise<DatabaseIdentity> {
  const [row] = await session.query<DatabaseIdentity>(`
    select (select system_identifier::text from pg_control_system()) as "systemIdentifier",
           d.oid::int8::float8 as "databaseOid",
           d.datname::text as "databaseName",
           current_setting('server_version_num')::int as "serverVersion",
           pg_encoding_to_char(d.encoding)::text as encoding,
           pg_is_in_recovery() as "isInRecovery",
           pg_is_in_recovery()
             or (select reset_val = 'on' from pg_settings where name = 'default_transaction_read_only') as "isReadOnly"
    from pg_database d
    where d.datname = current_database()`)
  if (row === undefined) throw new Error('pg_database does not know the current database')
  return row
}

type DatabaseKey = Pick<DatabaseIdentity, 'systemIdentifier' | 'databaseOid'>

/** True when both are the same database, or one is a standby's copy of the other. */
export function isSameDatabase(a: DatabaseKey, b: DatabaseKey): boolean {
  return a.systemIdentifier === b.systemIdentifier && a.databaseOid === b.databaseOid
}
