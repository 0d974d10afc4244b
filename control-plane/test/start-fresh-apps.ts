import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { defaultStreamTimes } from '../src/events/stream-events.ts'
import { openApp } from '../src/open-app.ts'
import type { RunningControlPlane, StartOptions } from '../src/start-control-plane.ts'
import { migrate } from '../src/store/migrate.ts'
import { openDatabase } from '../src/store/open-database.ts'
import { closeServer } from '../src/web/close-server.ts'
import { describeError, openLog } from '../src/web/log.ts'

/**
 * The control plane as functions in the worst case: each request gets an app and a pool of its own, which end with its
 * answer. Whatever one request leaves in memory for the next is lost here.
 */
export async function startFreshApps(options: StartOptions): Promise<RunningControlPlane> {
  const log = options.log ?? openLog(options.logLevel)
  const open = () =>
    openDatabase(options.databaseUrl, (error) =>
      log({ level: 'warning', event: 'connection-lost', ...describeError(error) }),
    )
  {
    await using database = open()
    await migrate(database)
  }
  const stopping = new AbortController()
  const server = createServer().listen(options.port, options.host)
  await once(server, 'listening')
  const url = `http://${options.host}:${(server.address() as AddressInfo).port}`
  const appOn = async (database: ReturnType<typeof open>) =>
    await openApp(options, {
      database,
      origin: new URL(options.publicUrl ?? url).origin,
      stream: { ...defaultStreamTimes, ...options.stream },
      stopping: stopping.signal,
      log,
    })

  const working = new Set<Promise<void>>()
  const answer = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const closed = once(outgoing, 'close')
    await using database = open()
    const { app } = await appOn(database)
    await getRequestListener(app.fetch, { overrideGlobalObjects: false })(incoming, outgoing)
    await closed
  }
  server.on('request', (incoming, outgoing) => {
    const work = answer(incoming, outgoing).finally(() => working.delete(work))
    working.add(work)
  })
  const { kid } = await appOn(open())
  let closing: Promise<void> | undefined
  const end = async (): Promise<void> => {
    stopping.abort()
    await closeServer(server)
    await Promise.all(working)
  }
  const close = async (): Promise<void> => await (closing ??= end())
  return { url, kid, close, [Symbol.asyncDispose]: close }
}
