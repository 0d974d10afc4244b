import { parseArgs } from 'node:util'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { readDatabaseUrl } from './env.ts'
import { makeToken, makeTokenSchema } from './people/make-token.ts'
import { openDatabase } from './store/open-database.ts'
import { describeError, openLog } from './web/log.ts'

const usage = `usage: DATABASE_URL=… pnpm tokens --label <name> [--role viewer|operator|admin] [--days 1..365]`

/**
 * `pnpm tokens`: makes an API token with nothing but the database's address, for who is locked out, and prints it. The
 * audit names `control` as its maker.
 */
async function main(args: string[]): Promise<void> {
  const input = readArgs(args)
  await using database = openDatabase(readDatabaseUrl(), (error) =>
    openLog()({ level: 'warning', event: 'connection-lost', ...describeError(error) }),
  )
  const { expires_at, label, role, token } = await makeToken(database, input, 'control').catch((cause: unknown) => {
    throw new SyncError('database-unreachable', "The control plane's database cannot be used.", {
      hint: 'Check DATABASE_URL, and that `pnpm migrate` or the control plane has brought it up to date.',
      cause,
    })
  })
  process.stdout.write(`${token}\n`)
  process.stderr.write(
    `token:${label} has the role ${role} until ${expires_at.toISOString()}. It is shown this once.\n`,
  )
}

function readArgs(args: string[]) {
  try {
    const { values } = parseArgs({
      args: args.filter((word, index) => !(word === '--' && index === 0)),
      options: {
        label: { type: 'string' },
        role: { type: 'string', default: 'admin' },
        days: { type: 'string', default: '30' },
      },
    })
    const { days, label, role } = values
    return makeTokenSchema.parse({ label, role, expires_in_days: Number(days) })
  } catch (cause) {
    throw new SyncError('usage', 'The arguments are not usable.', { hint: usage, cause })
  }
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  if (error instanceof SyncError) process.stderr.write(`${error.message}\n${error.hint}\n`)
  else openLog()({ level: 'error', event: 'making-a-token-failed', ...describeError(error) })
  process.exitCode = 1
}
