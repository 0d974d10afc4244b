import type pg from 'pg'

import type { Session } from '../../agent/src/postgres/session.ts'
import { canceled } from '../../agent/src/postgres/canceled.ts'
import { connectionLost, fromPgError } from '../../agent/src/postgres/pg-error.ts'
import type { Machine } from './machine.ts'
import { showTime } from './virtual-time.ts'
import type { World } from './world.ts'

/** How long a server goes on with the session of a machine that died, before it notices. */
const NOTICED_AFTER_MS = 30_000
const LONGEST_WAY_MS = 5
/** Between the words of a transaction it is likelier that a process is stopped: there it matters. */
const RISK_IN_TRANSACTION = 8

export interface TargetSession extends Session {
  /** Told of every COMMIT that the server took. */
  onCommit: (() => void) | undefined
  /** After a break at COMMIT the agent's code looks for the receipt on a real connection: time waits until this is called. */
  found(): void
}

/**
 * A connection to a target as the agent's code sees one. Each statement is on its way for a while: a process that freezes
 * before it sends it later, one that dies after has sent it all the same. The server's clock is its own.
 */
export async function openTargetSession(
  world: World,
  machine: Machine,
  target: string,
  signal: AbortSignal,
): Promise<TargetSession> {
  const { simulation, scenario, saboteur, oracle } = world
  const { process } = machine
  const { random } = process
  const place = world.targets.get(target)
  if (!place) throw new Error(`no target ${target}`)
  const client: pg.Client = await simulation.busy(async () => await place.pool.take())
  let isGone = false
  let isCut = false
  let inTransaction = false
  let release = (): void => undefined

  /** The server's end of it: everything open is rolled back, every lock is free. */
  const end = async (): Promise<void> => {
    if (isGone) return
    isGone = true
    await simulation.busy(async () => await place.pool.giveBack(client))
  }
  process.onDeath(() =>
    simulation.start(async () => {
      await simulation.sleep(random.between(0, NOTICED_AFTER_MS))
      await end()
    }),
  )
  const send = async <Result>(sql: string, work: () => Promise<Result>): Promise<Result> => {
    const doing = `working in ${target}`
    await process.step(inTransaction ? scenario.faults.risk * RISK_IN_TRANSACTION : undefined)
    if (signal.aborted) {
      await end()
      throw canceled(signal)
    }
    if (isCut || isGone) throw connectionLost(doing, undefined)
    await simulation.sleep(random.between(0, LONGEST_WAY_MS))
    if (isGone) throw connectionLost(doing, undefined)
    const isCommit = sql.endsWith('commit')
    const cutAt =
      isCommit && inTransaction && scenario.faults.areOn && random.chance(scenario.faults.commitCut)
        ? random.pick(['before', 'after'] as const)
        : undefined
    if (cutAt !== 'before') {
      try {
        const result = await simulation.busy(work)
        if (sql === 'begin') inTransaction = true
        if (isCommit && session.onCommit && inTransaction) session.onCommit()
        if (isCommit || sql === 'rollback') inTransaction = false
        if (cutAt === undefined) {
          await process.thaw()
          return result
        }
      } catch (error) {
        await process.thaw()
        throw fromPgError(error, doing)
      }
    }
    oracle.note(`${machine.name}: the connection to ${target} breaks ${cutAt} COMMIT`)
    isCut = true
    await end()
    await process.thaw()
    if (session.onCommit) release = simulation.hold()
    throw connectionLost(doing, undefined)
  }
  const nowThere = (): number => simulation.nowMs() + place.clockOffsetMs
  const session: TargetSession = {
    client,
    database: target,
    serverVersion: 180_000,
    backendPid: 0,
    onCommit: undefined,
    found: () => release(),
    query: async <Row extends object>(sql: string, values: unknown[] = []) =>
      await send(sql, async () => {
        if (sql.includes('clock_timestamp()')) await client.query(showTime(nowThere()))
        return (await client.query<Row>(saboteur.rewrite(sql), values)).rows
      }),
    run: async (sql) =>
      await send(sql, async () => {
        // A transaction that failed takes nothing but its end.
        const text = sql === 'rollback' ? sql : `${showTime(nowThere())}; ${saboteur.rewrite(sql)}`
        await client.query(text)
      }),
    close: end,
    destroy: () => simulation.start(end),
    [Symbol.asyncDispose]: end,
  }
  return session
}
