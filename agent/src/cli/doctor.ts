import { toSyncError, type SyncError } from '@multiboard-sync/shared/sync-error'
import { openSource } from '../postgres/open-source.ts'
import { readBlockers } from '../postgres/blockers.ts'
import { openTarget } from '../postgres/open-target.ts'
import { openSession } from '../postgres/session.ts'
import type { AgentContext } from '../context.ts'
import { randomText } from '@multiboard-sync/shared/job'

export interface Finding {
  check: string
  ok: boolean
  /** What was found; or what is wrong, with code and hint. */
  text: string
  code?: string
  hint?: string
}

/** Checks everything a job would need, one finding a line, and goes on after each failure. Changes no database. */
export async function runDoctor(
  context: AgentContext,
  signal: AbortSignal,
  tell: (finding: Finding) => void,
): Promise<boolean> {
  let isWell = true
  const check = async (name: string, work: () => Promise<string>): Promise<void> => {
    try {
      tell({ check: name, ok: true, text: await work() })
    } catch (thrown) {
      isWell = false
      tell(failure(name, toSyncError(thrown)))
    }
  }
  await check('bucket', async () => await checkBucket(context, signal))
  for (const [name, { role }] of Object.entries(context.policy.databases)) {
    if (role !== 'target') await check(`${name} as source`, async () => await checkReading(context, name, signal))
    if (role !== 'source') await check(`${name} as target`, async () => await checkWriting(context, name, signal))
  }
  return isWell
}

function failure(check: string, error: SyncError): Finding {
  const { code, hint, details } = error
  return { check, ok: false, text: [error.message, ...details].join(' '), code, hint }
}

/** Objects under this name are made only here; deleting needs a right that the agent should not have, so one is reused. */
const PROBE = 'doctor/probe.txt'

async function checkBucket({ store, prefix }: AgentContext, signal: AbortSignal): Promise<string> {
  await store.check(signal)
  const key = prefix === '' ? PROBE : `${prefix}/${PROBE}`
  const text = randomText(16)
  await store.putText(key, text, { signal })
  const read = await store.getText(key, { signal, maxBytes: 1024 })
  return read.toString() === text
    ? `"${store.bucket}" is there; writing and reading work`
    : 'what was written was not read back'
}

async function checkReading(context: AgentContext, name: string, signal: AbortSignal): Promise<string> {
  await using source = await openSource(context.databaseUrl(name), 'doctor', signal)
  await using reader = await source.openReader('doctor')
  const blockers = await readBlockers(reader)
  const { serverVersion, encoding } = source.identity
  const tables = source.tables.filter((table) => table.isLeaf).length
  const notes = blockers.map((blocker) => `; ${blocker.kind} ${blocker.name}`).join('')
  return `PostgreSQL ${Math.floor(serverVersion / 10_000)}, ${encoding}, ${tables} tables, snapshots can be shared${notes}`
}

async function checkWriting(context: AgentContext, name: string, signal: AbortSignal): Promise<string> {
  await using target = await openTarget(context.databaseUrl(name), signal)
  await using session = await openSession(target.database, { purpose: 'doctor', signal })
  const [row] = await session.query<{ allowed: boolean }>(
    `select has_database_privilege(current_database(), 'create') as allowed`,
  )
  const rights = row?.allowed ? 'may create schemas' : 'may NOT create schemas: grant create on database to its role'
  return `PostgreSQL ${Math.floor(target.identity.serverVersion / 10_000)}, accepts writes, no other job works on it, ${rights}`
}
