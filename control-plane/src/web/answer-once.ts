import { createHash } from 'node:crypto'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import pg from 'pg'
import { z } from 'zod'
import type { PersonEnv } from '../people/person.ts'
import type { Database, Queries } from '../store/open-database.ts'
import { ProblemError } from './problem.ts'
import { parseInput } from './read-body.ts'

/*
 * Idempotency-Key: a person's client that got no answer sends the same request again under the same key, and what it
 * asked for is done once.
 *
 * Promises, for a day and for each person: the same request under a key is carried out once, and gets the answer that it
 * got the first time, also when 50 arrive at once; another request under the key is `idempotency-conflict`; a request
 * that failed does not use its key up. The key, the deed and the answer are one transaction: there is no moment in which
 * a crash leaves one without the others. Never: a secret in the table (see `secret`).
 */

export interface Answer<Body, Status extends ContentfulStatusCode> {
  status: Status
  body: Body
  /** Path of what was made. */
  location?: string
}

interface Asked {
  /** What was asked, parsed: the same request is the same JSON. */
  input: unknown
  /** The answer holds what is shown once. It is not kept, and a repeat is told so. */
  secret?: true
}

// Requests take milliseconds. One that is at work for longer is not waited for by others, which hold a connection each.
const WAIT = '3s'
// As in open-database.ts, for what the request waits for itself.
const WAIT_OTHERWISE = '10s'
const BUSY_RETRY_AFTER_S = 2

/**
 * Runs `act` once for each Idempotency-Key of the caller, or simply, without the header. `act` gets a database whose
 * every statement is in one transaction, and must use no other. Throws `idempotency-conflict`, `idempotency-busy`, and
 * what `act` throws.
 */
export async function answerOnce<Body, Status extends ContentfulStatusCode>(
  c: Context<PersonEnv>,
  database: Database,
  { input, secret }: Asked,
  act: (once: Database) => Promise<Answer<Body, Status>>,
): Promise<Answer<Body, Status>> {
  const key = parseInput(keySchema, { 'idempotency-key': c.req.header('idempotency-key') })['idempotency-key']
  const answer = await database.transaction(async (transaction) => {
    const once = joined(transaction)
    if (key === undefined) return await act(once)
    const use = { person: c.get('person').name, key, sha256: hashRequest([c.req.method, c.req.path, input]) }
    const earlier = await takeKey(transaction, use)
    if (earlier !== undefined) return JSON.parse(earlier) as Answer<Body, Status>
    const made = await act(once)
    if (!secret) await transaction.query(keepAnswer, [use.person, key, JSON.stringify(made)])
    return made
  })
  if (answer.location !== undefined) c.header('location', answer.location)
  return answer
}

const keySchema = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/, '1 to 200 visible characters')
    .optional(),
})

/** A transaction within this one is part of it. */
function joined(transaction: Queries): Database {
  return {
    query: transaction.query,
    transaction: async (work) => await work(transaction),
    [Symbol.asyncDispose]: async () => undefined,
  }
}

function hashRequest(request: unknown): string {
  return createHash('sha256').update(JSON.stringify(request)).digest('hex')
}

interface KeyUse {
  person: string
  key: string
  sha256: string
}

/** Takes the key; answers what the request that has it already was answered. Waits for one that is at work. */
async function takeKey(transaction: Queries, { person, key, sha256 }: KeyUse): Promise<string | undefined> {
  const [taken] = await transaction.query(insertKey, [person, key, sha256, WAIT, WAIT_OTHERWISE]).catch(throwIfBusy)
  if (taken) return undefined
  const [earlier] = await transaction.query<{ request_sha256: string; answer: string | null }>(
    'select request_sha256, answer from multiboard.idempotency_keys where actor = $1 and key = $2',
    [person, key],
  )
  if (earlier?.request_sha256 !== sha256) {
    throw new SyncError('idempotency-conflict', 'This idempotency key was used for another request.', {
      hint: 'Use a new key for a new request.',
    })
  }
  if (earlier.answer !== null) return earlier.answer
  throw new SyncError('conflict', 'This was done already, and the answer is not kept: it was shown once.', {
    hint: 'If you did not get it, revoke what was made and ask again under a new key.',
  })
}

function throwIfBusy(error: unknown): never {
  const isLockTimeout = error instanceof pg.DatabaseError && error.code === '55P03'
  if (!isLockTimeout) throw error
  throw new ProblemError('idempotency-busy', 'The request under this idempotency key is still at work.', {
    hint: 'Send the same again under the same key.',
    retryAfterS: BUSY_RETRY_AFTER_S,
  })
}

// The wait is limited before the row is inserted, and set back as soon as it is. What is older than a day is taken over
// when its key is used again; now and then everything that old is removed.
const insertKey = `
  with old as (
    delete from multiboard.idempotency_keys where (actor, key) in (
      select actor, key from multiboard.idempotency_keys
      where (select random() < 0.01) and created_at < now() - interval '1 day' and (actor, key) <> ($1, $2)
      limit 1000 for update skip locked
    )
  )
  insert into multiboard.idempotency_keys as known (actor, key, request_sha256)
  select $1, $2, $3 from set_config('lock_timeout', $4, true)
  on conflict (actor, key) do update
    set request_sha256 = excluded.request_sha256, answer = null, created_at = now()
    where known.created_at < now() - interval '1 day'
  returning set_config('lock_timeout', $5, true)
`

const keepAnswer = 'update multiboard.idempotency_keys set answer = $3 where actor = $1 and key = $2'
