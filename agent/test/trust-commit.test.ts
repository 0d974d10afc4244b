import { newJobId } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, test } from 'vitest'
import { withDeadline } from '../../shared/testing/postgres/deadline.ts'
import { openTarget } from '../src/postgres/open-target.ts'
import { unlimitedLease } from '../src/report/lease.ts'
import type { RestoreRun } from '../src/restore/load.ts'
import { afterSwap } from '../src/restore/swap/after-swap.ts'
import { exchange } from '../src/restore/swap/exchange.ts'
import { openGate, type Gate } from './road/gate.ts'
import { stage } from './swap-place.ts'

/*
 * The connection goes down at the worst moment, again and again: the swap's COMMIT is under way, and its answer never
 * arrives. `G2_ROUNDS=500` makes as many rounds as the promise was first tried with.
 */

const ROUNDS = Number(process.env['G2_ROUNDS'] ?? 30)
const STEP_TIMEOUT_MS = 30_000
/** COMMIT and the check of the deadline are one message. */
const COMMIT = /lease deadline/
/** Sent, and cut at once; sent, answered, and cut before the answer is heard; cut before it is sent. */
const cuts = ['sent', 'answered', 'unsent', 'sent'] as const

/** What the exchange asks of the one whose job it is. */
const runOf = (): RestoreRun => ({
  changing: () => undefined,
  changed: async () => undefined,
  reporter: { phase: () => undefined, event: () => undefined, progress: () => undefined },
  lease: unlimitedLease,
  journal: { record: async () => undefined, [Symbol.asyncDispose]: async () => undefined },
  signal: AbortSignal.timeout(STEP_TIMEOUT_MS),
})

/** One swap through the gate: the receipt's job when it is told as done, else the code of what it is told as. */
async function swapOnce(url: string, gate: Gate, job: string, round: number, cut: (typeof cuts)[number] | 'none') {
  await using target = await openTarget({ name: 'staging', url: gate.url(url), viaProxy: false }, runOf().signal)
  const make = (schema: string) =>
    `create table ${schema}.generation (round int primary key); insert into ${schema}.generation values (${round})`
  const change = await stage({ target }, job, ['generation'], make, { fence: round })
  const caught = cut === 'none' ? undefined : gate.stopAt(COMMIT, cut === 'unsent' ? 'before' : 'after')
  const swapping = exchange(target, change, runOf()).catch((thrown: unknown) => {
    if (thrown instanceof SyncError) return thrown
    throw thrown
  })
  if (caught) {
    const held = await withDeadline('the COMMIT', STEP_TIMEOUT_MS, caught)
    if (cut === 'answered') await withDeadline("the COMMIT's answer", STEP_TIMEOUT_MS, held.answered)
    held.cut()
  }
  const told = await withDeadline('the word on the swap', STEP_TIMEOUT_MS, swapping)
  if (told instanceof SyncError) return told.code
  // What was replaced goes: 500 previous tables would be another test.
  await afterSwap(target, told, runOf())
  return told.receipt.job
}

test(
  'G2: however often the connection is cut at COMMIT, there are as many receipts as swaps, and each is told as it was',
  { timeout: 60_000 + ROUNDS * 2_000 },
  async () => {
    const sql = 'create table public.generation (round int primary key); insert into generation values (0)'
    await using database = await createDatabase({ sql })
    await using gate = await openGate(new URL(database.url))
    const client = await database.client()
    const one = async (query: string): Promise<number> =>
      Number((await client.query<{ n: string }>(`select ${query} as n`)).rows[0]?.n)
    const readLive = async (): Promise<number> => await one('(select round from public.generation)')
    let [swaps, toldDone, live] = [0, 0, 0]
    for (let round = 1; round <= ROUNDS; round += 1) {
      const job = newJobId()
      const cut = cuts[round % cuts.length] ?? 'sent'
      const told = await swapOnce(database.url, gate, job, round, cut)
      const now = await readLive()
      expect({ round, cut, told, now }).toEqual({
        round,
        cut,
        told: cut === 'unsent' ? 'connection-lost' : job,
        now: cut === 'unsent' ? live : round,
      })
      live = now
      swaps += cut === 'unsent' ? 0 : 1
      toldDone += told === job ? 1 : 0
      // A job that has its receipt never swaps again, whoever believes that it has not.
      if (round % 5 > 0 || told !== job) continue
      await client.query(`drop schema if exists multiboard_sync_stage_${job}_1 cascade`)
      expect(await swapOnce(database.url, gate, job, round + 1_000_000, 'none')).toBe('already-done')
      expect(await readLive()).toBe(live)
    }
    const receipts = await one('(select count(*) from multiboard_sync.receipts)')
    expect({ receipts, toldDone }).toEqual({ receipts: swaps, toldDone: swaps })
  },
)
