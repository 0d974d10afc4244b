import type { Hono } from 'hono'
import { createApp } from './create-app.ts'
import { readEnv } from './env.ts'
import { defaultStreamTimes } from './events/stream-events.ts'
import { makeOrderSigner } from './orders/order-signer.ts'
import { openDatabase } from './store/open-database.ts'
import { describeError, logToStderr } from './web/log.ts'

/** The control plane as a function. The platform looks for a default export that is a Hono app; migrations run elsewhere. */
const { adminToken, databaseUrl, lease, publicUrl, signingKey } = readEnv()

const app: Pick<Hono, 'fetch'> = createApp({
  database: openDatabase(databaseUrl, (error) =>
    logToStderr({ level: 'warning', event: 'connection-lost', ...describeError(error) }),
  ),
  signer: await makeOrderSigner(signingKey),
  origin: new URL(publicUrl).origin,
  adminToken,
  lease,
  stream: defaultStreamTimes,
  stopping: new AbortController().signal,
  log: logToStderr,
})

export default app
