import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { DumpEntry } from '../postgres/dump-entries.ts'
import { readAvailableExtensions, readExtensions } from '../postgres/extensions.ts'
import { readRoles } from '../postgres/roles.ts'
import type { Session } from '../postgres/session.ts'
import { checkLockTable } from './check-locks.ts'

/** A major version's number: 18 for 180004. */
export function majorOf(serverVersion: number): number {
  return Math.floor(serverVersion / 10_000)
}

/** Schema text of a newer server may not be understood by an older one. Throws `target-older`. */
export function checkVersions(source: number, target: number): void {
  if (majorOf(target) >= majorOf(source)) return
  throw new SyncError('target-older', `The target is PostgreSQL ${majorOf(target)}, the source ${majorOf(source)}.`, {
    hint: 'Restore into the same or a newer major version.',
  })
}

/** Everything that running the archive's text in the target needs and that can be known before: all findings at once. */
export async function checkCreate(session: Session, entries: DumpEntry[]): Promise<void> {
  await checkExtensions(session, entries)
  await checkPolicyRoles(session, entries)
  await checkCreateRight(session)
  await checkLockTable(
    session,
    entries.reduce((sum, entry) => sum + (LOCKS[entry.type] ?? 0), 0),
  )
}

async function checkExtensions(session: Session, entries: DumpEntry[]): Promise<void> {
  const wanted = entries.filter((entry) => entry.type === 'EXTENSION').map((entry) => entry.name)
  const there = new Set([
    ...(await readAvailableExtensions(session)),
    ...(await readExtensions(session)).map((extension) => extension.name),
  ])
  const missing = wanted.filter((name) => !there.has(name))
  if (missing.length === 0) return
  throw new SyncError('extension-missing', `The target's server does not offer ${missing.join(', ')}.`, {
    hint: 'Install the extension on the target server, then start the job again.',
    details: missing.map((name) => `extension ${name} is missing on the target's server`),
  })
}

/** pg_dump writes `CREATE POLICY name ON table [FOR command] [TO roles] [USING …]`. */
const POLICY_ROLES =
  /^CREATE POLICY (?:[^"\s]+|"(?:[^"]|"")+") ON \S.*? TO ((?:[^"\s(,]+|"(?:[^"]|"")+")(?:, (?:[^"\s(,]+|"(?:[^"]|"")+"))*)(?: USING| WITH CHECK|;)/m

async function checkPolicyRoles(session: Session, entries: DumpEntry[]): Promise<void> {
  const named = entries
    .filter((entry) => entry.type === 'POLICY')
    .flatMap((entry) => POLICY_ROLES.exec(entry.sql)?.[1]?.split(', ') ?? [])
    .map((role) => (role.startsWith('"') ? role.slice(1, -1).replaceAll('""', '"') : role))
  if (named.length === 0) return
  const there = new Set([
    'public',
    'PUBLIC',
    'CURRENT_USER',
    'SESSION_USER',
    'CURRENT_ROLE',
    ...(await readRoles(session)),
  ])
  const missing = [...new Set(named)].filter((role) => !there.has(role))
  if (missing.length === 0) return
  throw new SyncError(
    'role-missing',
    `Row security policies name roles that the target lacks: ${missing.join(', ')}.`,
    {
      hint: 'Create these roles on the target (create role … nologin is enough), then start the job again.',
    },
  )
}

/** Throws `permission-denied`. */
export async function checkCreateRight(session: Session): Promise<void> {
  const [row] = await session.query<{ allowed: boolean }>(
    `select has_database_privilege(current_database(), 'create') as allowed`,
  )
  if (row?.allowed) return
  throw new SyncError('permission-denied', `The agent's role may not create schemas in "${session.database}".`, {
    hint: 'grant create on database … to the role of the agent.',
  })
}

/** Entries that lock relations of their own while they run, and how many: a table brings its TOAST table and that one's index. */
const LOCKS: Record<string, number> = {
  TABLE: 4,
  INDEX: 1,
  CONSTRAINT: 1,
  SEQUENCE: 1,
  VIEW: 1,
  'MATERIALIZED VIEW': 3,
}

/** TRUNCATE, dropping and adding constraints need the owner's rights. Throws `permission-denied` with every table. */
export async function checkOwnership(session: Session, oids: number[]): Promise<void> {
  const rows = await session.query<{ name: string }>(
    `select format('%I.%I', n.nspname, c.relname) as name
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.oid = any ($1::oid[]) and not pg_has_role(c.relowner, 'usage') order by 1`,
    [oids],
  )
  if (rows.length === 0) return
  throw new SyncError(
    'permission-denied',
    `The agent's role owns not all tables of "${session.database}" that change.`,
    {
      hint: "Make the agent's role a member of the role that owns them.",
      details: rows.map((row) => `table ${row.name} belongs to another role`),
    },
  )
}
