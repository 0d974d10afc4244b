import type { Session } from './session.ts'

export interface Extension {
  name: string
  version: string
  /** Where its objects lie. */
  schema: string
}

/** Extensions of this database, by name. */
export async function readExtensions(session: Session): Promise<Extension[]> {
  return await session.query<Extension>(`
    select e.extname::text as name, e.extversion as version, n.nspname::text as schema
    from pg_extension e
    join pg_namespace n on n.oid = e.extnamespace
    order by e.extname collate "C"`)
}

/** Names of the extensions that the server could create, by name. */
export async function readAvailableExtensions(session: Session): Promise<string[]> {
  const rows = await session.query<{ name: string }>(
    `select name::text as name from pg_available_extensions order by name collate "C"`,
  )
  return rows.map((row) => row.name)
}
