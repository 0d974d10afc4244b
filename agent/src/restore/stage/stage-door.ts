import type { Door } from '../../lanes/lanes.ts'
import { openSession, type DatabaseUrl } from '../../postgres/session.ts'

/**
 * Nobody else can see the stage, and what would wait for each other waits in the agent, where it takes no lane. What is
 * left is a vacuum, which gives way after deadlock_timeout unless it must not.
 */
const LOCK_TIMEOUT_MS = 60_000
/** More does not make an index faster: the runs of a sort are merged once in any case. */
const MAX_WORK_BYTES = 1024 ** 3

/**
 * Sessions that fill a stage: load, index, count, key. For themselves alone they have what the server does not give
 * everybody:
 *
 * - maintenance_work_mem of shared_buffers divided by the lanes, at least the server's own. Who runs a server gives
 *   shared_buffers about a quarter of its memory, so that all lanes together take another one. Parallel maintenance
 *   workers stay the server's own: two of them take no more processor time than none, and a core that is free.
 * - no wait for the disk at each commit: the exchange's commit waits for all of them, and a server that crashes ends the job.
 */
export function stageDoor(database: DatabaseUrl, lanes: number): Door {
  return {
    database: database.name,
    open: async (signal) => {
      const options = { purpose: 'stage', signal, lockTimeoutMs: LOCK_TIMEOUT_MS, patient: true }
      const session = await openSession(database, options)
      try {
        await session.run(settingsSql(lanes))
        return session
      } catch (error) {
        session.destroy()
        throw error
      }
    },
  }
}

/** Names no tablespace: pg_get_indexdef() does not, and a role or database may have a default of its own. */
function settingsSql(lanes: number): string {
  return `
set default_tablespace = '';
set synchronous_commit = off;
select set_config('maintenance_work_mem', greatest(
  pg_size_bytes(current_setting('maintenance_work_mem')),
  least(${MAX_WORK_BYTES}, pg_size_bytes(current_setting('shared_buffers')) / ${Math.max(1, Math.floor(lanes))})
) / 1024 || 'kB', false)`
}
