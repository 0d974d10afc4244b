import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { createAdaptorServer } from '@hono/node-server'
import type { ControlPlaneConfig } from './env.ts'
import { createApp } from './create-app.ts'
import { defaultStreamTimes, type StreamTimes } from './events/stream-events.ts'
import { makeOrderSigner } from './orders/order-signer.ts'
import { migrate } from './store/migrate.ts'
import { openDatabase } from './store/open-database.ts'
import { describeError, logToStderr, type Log } from './web/log.ts'

export interface StartOptions extends ControlPlaneConfig {
  log?: Log
  stream?: Partial<StreamTimes>
}

export interface RunningControlPlane extends AsyncDisposable {
  /** Where it listens: `http://127.0.0.1:49152`. */
  url: string
  /** The signing key's id, which agents pin. */
  kid: string
  /** Lets requests end, streams first; twice is once. */
  close(): Promise<void>
}

// A request takes milliseconds; what is not done by then is a client that does not read.
const CLOSE_TIMEOUT_MS = 5000

/** Migrates the database, then listens. Throws when the database or the port cannot be had; leaves nothing open then. */
export async function startControlPlane(options: StartOptions): Promise<RunningControlPlane> {
  const log = options.log ?? logToStderr
  await using started = new AsyncDisposableStack()
  const database = started.use(
    openDatabase(options.databaseUrl, (error) =>
      log({ level: 'warning', event: 'connection-lost', ...describeError(error) }),
    ),
  )
  const signer = await makeOrderSigner(options.signingKey)
  await migrate(database)

  const stopping = new AbortController()
  const { promise: app, resolve: serveApp } = Promise.withResolvers<ReturnType<typeof createApp>>()
  // The app must know its own address, which is known only once we listen; a request in between waits for it.
  const server = createAdaptorServer({
    fetch: async (request) => await (await app).fetch(request),
    overrideGlobalObjects: false,
  })
  server.listen(options.port, options.host)
  await once(server, 'listening')
  started.defer(async () => {
    stopping.abort()
    const closed = once(server, 'close')
    server.close()
    const timer = setTimeout(() => 'closeAllConnections' in server && server.closeAllConnections(), CLOSE_TIMEOUT_MS)
    await closed
    clearTimeout(timer)
  })
  const { port } = server.address() as AddressInfo
  const url = `http://${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`
  serveApp(
    createApp({
      database,
      signer,
      origin: new URL(options.publicUrl ?? url).origin,
      adminToken: options.adminToken,
      lease: options.lease,
      stream: { ...defaultStreamTimes, ...options.stream },
      stopping: stopping.signal,
      log,
    }),
  )
  const resources = started.move()
  const close = async () => await resources.disposeAsync()
  return { url, kid: signer.kid, close, [Symbol.asyncDispose]: close }
}
