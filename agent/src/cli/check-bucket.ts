import { randomText } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { AgentContext } from '../context.ts'
import type { Clocks } from './check-clocks.ts'
import type { Found } from './doctor.ts'

/** Objects under this name are made only here; deleting needs a right that the agent should not have, so one is reused. */
const PROBE = 'doctor/probe.txt'

/** Whether archives could be written, found and read. Throws `storage-auth` with every right that lacks, and as probe() does. */
export async function checkBucket(
  { store, prefix }: Pick<AgentContext, 'store' | 'prefix'>,
  clocks: Clocks,
  signal: AbortSignal,
): Promise<Found> {
  const key = prefix === '' ? PROBE : `${prefix}/${PROBE}`
  const { missing, skewMs, versioning } = await store.probe(key, randomText(16), signal)
  if (skewMs !== undefined) clocks.set('the object store', skewMs)
  if (missing.length > 0) {
    throw new SyncError('storage-auth', `The key of the bucket "${store.bucket}" lacks rights.`, {
      hint: "Give the key these rights on bucket and prefix (docs/S3-PROVIDERS.md has them as a policy), or check that it is this bucket's key.",
      details: missing,
    })
  }
  return { text: `"${store.bucket}" is there; writing and reading work`, notes: NOTES[versioning] }
}

const KEEP_VERSIONS =
  'switch versioning on (docs/S3-PROVIDERS.md), so that a stolen key cannot destroy archives by writing over them'
const NOTES = {
  on: [],
  off: [`the bucket keeps no versions: ${KEEP_VERSIONS}`],
  unknown: [
    `whether the bucket keeps versions cannot be seen (the right s3:GetBucketVersioning would show it): ${KEEP_VERSIONS}`,
  ],
}
