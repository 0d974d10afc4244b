import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { ControlPlaneConfig } from './env.ts'
import { defaultStreamTimes, type StreamTimes } from './events/stream-events.ts'
import { openApp } from './open-app.ts'
import { makeFirstToken } from './people/first-token.ts'
import { migrate, migrationFailed } from './store/migrate.ts'
import { openDatabase } from './store/open-database.ts'
import { answerUnreadable } from './web/answer-unreadable.ts'
import { closeServer } from './web/close-server.ts'
import { describeError, openLog, type Log } from './web/log.ts'

export interface StartOptions extends ControlPlaneConfig {
  log?: Log
  stream?: Partial<StreamTimes>
}

export interface RunningControlPlane extends AsyncDisposable {
  /** Where it listens: `http://127.0.0.1:49152`. */
  url: string
  /** The signing key's id, which agents pin. */
  kid: string
  /** The token of an admin, made because nobody could get in without it. Shown here and never again. */
  firstToken?: string | undefined
  /** Lets requests end, streams first; twice is once. */
  close(): Promise<void>
}

// A client that takes nothing of a stream for so many heartbeats is gone, or means us no good: it holds memory and a socket.
const HEARTBEATS_UNREAD = 4

/** Migrates the database, then listens. Throws when the database or the port cannot be had; leaves nothing open then. */
export async function startControlPlane(options: StartOptions): Promise<RunningControlPlane> {
  const log = options.log ?? openLog(options.logLevel)
  await using started = new AsyncDisposableStack()
  const database = started.use(
    openDatabase(options.databaseUrl, (error) =>
      log({ level: 'warning', event: 'connection-lost', ...describeError(error) }),
    ),
  )
  await migrate(database).catch((cause: unknown) => {
    throw migrationFailed(cause)
  })

  const stopping = new AbortController()
  const server = createServer()
  const ready = Promise.withResolvers<(incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>>()
  const stream = { ...defaultStreamTimes, ...options.stream }
  // From the first connection on: a request that comes before the app is made waits for it.
  server.on('request', (incoming, outgoing) => {
    if (isForStream(incoming)) outgoing.setTimeout(HEARTBEATS_UNREAD * stream.heartbeatMs)
    // It answers its own errors; nothing is left to wait for.
    void ready.promise.then(async (answer) => await answer(incoming, outgoing))
  })
  server.listen(options.port, options.host)
  await once(server, 'listening').catch((cause: unknown) => {
    throw new SyncError('config-invalid', `Port ${options.port} cannot be listened on${codeOf(cause)}.`, {
      hint: 'Choose another PORT or HOST, or stop what uses it.',
      cause,
    })
  })
  started.defer(async () => {
    stopping.abort()
    await closeServer(server)
  })
  const { port } = server.address() as AddressInfo
  const url = `http://${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`
  // The app is made once we listen, because only then its own address is known.
  const { app, kid } = await openApp(options, {
    database,
    origin: new URL(options.publicUrl ?? url).origin,
    stream,
    stopping: stopping.signal,
    log,
  })
  const firstToken = await makeFirstToken({ ...options, database })
  ready.resolve(
    getRequestListener(app.fetch, {
      overrideGlobalObjects: false,
      errorHandler: (error) => answerUnreadable(error, log),
    }),
  )
  const resources = started.move()
  const close = async () => await resources.disposeAsync()
  return { url, kid, firstToken: firstToken?.token, close, [Symbol.asyncDispose]: close }
}

function isForStream({ headers }: IncomingMessage): boolean {
  return headers.accept?.includes('text/event-stream') === true
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? ` (${String(error.code)})` : ''
}
