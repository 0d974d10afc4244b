import type pg from 'pg'

import { connectVirtual } from './virtual-time.ts'

/** Connections that outlive the histories; each is clean when it is taken. */
export interface ClientPool extends AsyncDisposable {
  take(): Promise<pg.Client>
  giveBack(client: pg.Client): Promise<void>
  /** Of a history that ended in the middle of something. */
  takeBackAll(): Promise<void>
}

export function createClientPool(url: string): ClientPool {
  const free: pg.Client[] = []
  const all: pg.Client[] = []
  const giveBack = async (client: pg.Client): Promise<void> => {
    await client.query('rollback; select pg_advisory_unlock_all()')
    free.push(client)
  }
  return {
    take: async () => {
      const found = free.pop()
      if (found) return found
      const made = await connectVirtual(url)
      all.push(made)
      return made
    },
    giveBack,
    takeBackAll: async () => {
      for (const client of all) if (!free.includes(client)) await giveBack(client)
    },
    [Symbol.asyncDispose]: async () => void (await Promise.all(all.map(async (client) => await client.end()))),
  }
}
