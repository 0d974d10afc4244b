import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../store/open-database.ts'

/*
 * How many streams one person has open, counted where all instances see it: each stream holds one of a person's few rows
 * for as long as it says so. An instance that dies gives its rows back by their expiry.
 */

const STREAMS_A_PERSON = 5
/** Three heartbeats of a stream: it may miss two. */
const HELD_SECONDS = 45
/** A browser that reloads opens its stream before the server has heard that the one before was closed. */
const TRY_AGAIN_AFTER_MS = [100, 300, 600]

export interface StreamSlot {
  /** Says that the stream still runs. False when the row was given to another meanwhile. */
  keep(): Promise<boolean>
  free(): Promise<void>
}

/** Undefined when this person has too many streams open. */
export async function takeSlot(database: Database, person: string): Promise<StreamSlot | undefined> {
  const stream = randomUUID()
  for (const waitMs of [0, ...TRY_AGAIN_AFTER_MS]) {
    if (waitMs > 0) await sleep(waitMs)
    const [taken] = await database.query<{ slot: number }>(take, [person, stream, STREAMS_A_PERSON, HELD_SECONDS])
    if (!taken) continue
    const key = [person, taken.slot, stream]
    return {
      keep: async () => (await database.query(renew, [...key, HELD_SECONDS])).length > 0,
      free: async () => void (await database.query(remove, key)),
    }
  }
  return undefined
}

// Two at once may choose the same row: the primary key gives it to one, and the other tries again.
const take = `
  with free as (
    select n from generate_series(1, $3::integer) as n
    where not exists (
      select from multiboard.streams held where held.person = $1 and held.slot = n and held.expires_at > now()
    )
    order by random() limit 1
  )
  insert into multiboard.streams as held (person, slot, stream, expires_at)
  select $1, n, $2, now() + make_interval(secs => $4) from free
  on conflict (person, slot) do update set stream = excluded.stream, expires_at = excluded.expires_at
    where held.expires_at <= now()
  returning slot
`

const renew = `
  update multiboard.streams set expires_at = now() + make_interval(secs => $4)
  where person = $1 and slot = $2 and stream = $3 returning slot
`

const remove = 'delete from multiboard.streams where person = $1 and slot = $2 and stream = $3'
