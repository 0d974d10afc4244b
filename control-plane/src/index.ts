import { attachDatabasePool } from '@vercel/functions/db-connections'
import type { Hono } from 'hono'
import { readEnv } from './env.ts'
import { defaultStreamTimes } from './events/stream-events.ts'
import { openApp } from './open-app.ts'
import { openDatabase } from './store/open-database.ts'
import { describeError, openLog } from './web/log.ts'

/**
 * The control plane as a function. The platform looks for a default export that is a Hono app. It never migrates: that
 * is `pnpm migrate`, before a version is deployed.
 */
const env = readEnv()
const log = openLog(env.logLevel)
// The platform sets this header itself, whatever the client sent; a function sees no connection.
const config = { ...env, addressHeader: env.addressHeader ?? 'x-real-ip' }

const { app }: { app: Pick<Hono, 'fetch'> } = await openApp(config, {
  // The platform keeps an instance awake until its idle connections are closed, so that none is left half open.
  database: openDatabase(
    config.databaseUrl,
    (error) => log({ level: 'warning', event: 'connection-lost', ...describeError(error) }),
    attachDatabasePool,
  ),
  origin: new URL(config.publicUrl).origin,
  stream: defaultStreamTimes,
  stopping: new AbortController().signal,
  log,
})

export default app
