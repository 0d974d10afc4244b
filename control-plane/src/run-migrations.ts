import { SyncError } from '@multiboard-sync/shared/sync-error'
import { readDatabaseUrl } from './env.ts'
import { migrate, migrationFailed } from './store/migrate.ts'
import { openDatabase } from './store/open-database.ts'
import { describeError, openLog } from './web/log.ts'

/** `pnpm migrate`: brings the database to this version, for a control plane that runs as functions and never migrates. */
async function main(): Promise<void> {
  await using database = openDatabase(readDatabaseUrl(), (error) =>
    openLog()({ level: 'warning', event: 'connection-lost', ...describeError(error) }),
  )
  const ran = await migrate(database).catch((cause: unknown) => {
    throw migrationFailed(cause)
  })
  const said = ran.map((name) => `Ran ${name}.`)
  process.stdout.write(`${[...said, 'The database is up to date.'].join('\n')}\n`)
}

try {
  await main()
} catch (error) {
  if (error instanceof SyncError) process.stderr.write(`${error.message}\n${error.hint}\n`)
  else openLog()({ level: 'error', event: 'migration-failed', ...describeError(error) })
  process.exitCode = 1
}
