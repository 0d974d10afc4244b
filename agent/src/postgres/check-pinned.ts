import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { DatabasePin, DatabaseUrl } from './connect.ts'
import { readIdentity, type DatabaseIdentity } from './identity.ts'
import type { Session } from './session.ts'

/**
 * Refuses a database that is not the one which the policy pins under its name, or that is pinned under another name: a URL
 * that somebody has pointed elsewhere. Of every connection, before anything else is done with it. Asks nothing where
 * nothing is pinned. A physical copy cannot be told from its original. Throws `database-mismatch`, and as readIdentity() does.
 */
export async function checkPinned(session: Session, { name, pinned, others = [] }: DatabaseUrl): Promise<void> {
  if (!pinned && others.length === 0) return
  const live = await readIdentity(session)
  if (pinned && !isPinned(live, pinned)) {
    throw new SyncError('database-mismatch', `The URL of "${name}" leads to another database than the one pinned.`, {
      hint: `Mend the URL; if "${name}" was moved or made anew on purpose, write under databases.${name} in agent.yaml: ${pinText(live).join(', ')}.`,
    })
  }
  const other = pinned ? undefined : others.find((one) => isPinned(live, one))
  if (other) {
    throw new SyncError('database-mismatch', `The URL of "${name}" leads to the database pinned as "${other.name}".`, {
      hint: `Mend the URL; if both names mean one database on purpose, write under databases.${name} in agent.yaml, too: ${pinText(live).join(', ')}.`,
    })
  }
}

/** Lines for agent.yaml. */
export function pinText({ systemIdentifier, databaseOid }: DatabaseIdentity): string[] {
  return [`system_identifier: '${systemIdentifier}'`, `database_oid: ${databaseOid}`]
}

function isPinned(live: DatabaseIdentity, { systemIdentifier, databaseOid }: DatabasePin): boolean {
  const isServer = systemIdentifier === undefined || systemIdentifier === live.systemIdentifier
  return isServer && (databaseOid === undefined || databaseOid === live.databaseOid)
}
