import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Below the ports that systems give to outgoing connections and to servers that ask for any (Linux from 32768, others from
 * 49152): in a busy second one of those is often taken again before the one who asked listens.
 */
const FIRST = 15_000
const END = 32_000
const ATTEMPTS = 20

/** A TCP port that was free on 127.0.0.1 a moment ago. Somebody else may still take it first. */
export async function freePort(): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const port = randomInt(FIRST, END)
    const server = createServer().listen(port, '127.0.0.1')
    try {
      await once(server, 'listening')
    } catch (error) {
      if (attempt < ATTEMPTS) continue
      throw error
    }
    server.close()
    await once(server, 'close')
    return port
  }
}
