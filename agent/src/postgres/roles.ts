import type { Session } from './session.ts'

/** Names of all roles of the server, by name. */
export async function readRoles(session: Session): Promise<string[]> {
  const rows = await session.query<{ name: string }>(
    `select rolname::text as name from pg_roles order by rolname collate "C"`,
  )
  return rows.map((row) => row.name)
}
