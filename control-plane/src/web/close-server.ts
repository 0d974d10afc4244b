import { once } from 'node:events'
import type { Server } from 'node:http'

// A connection that was busy when we began to close becomes idle later, and would then be kept alive for seconds.
const CLOSE_IDLE_EVERY_MS = 20
// A request takes milliseconds; what is not done by then is a client that does not read.
const CLOSE_TIMEOUT_MS = 5000

/** No new connections; those at work may finish, those that are idle end, and what is left after a while is cut. */
export async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  const idle = setInterval(() => server.closeIdleConnections(), CLOSE_IDLE_EVERY_MS)
  const cut = setTimeout(() => server.closeAllConnections(), CLOSE_TIMEOUT_MS)
  await closed
  clearInterval(idle)
  clearTimeout(cut)
}
