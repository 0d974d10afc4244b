import { readAnswer, type Answer } from '../../agent/src/poll/read-answer.ts'
import { unreachable } from '../../agent/src/poll/control-plane-error.ts'
import { problemResponse } from '../../control-plane/src/web/problem.ts'
import { SyncError } from '../../shared/src/sync-error.ts'
import type { Machine } from './machine.ts'
import type { World } from './world.ts'

/** As the agent's client has it. */
const CALL_TIMEOUT_MS = 20_000
/** A signed request is good for a minute: so long may it lie somewhere and come again. */
const LATEST_DUPLICATE_MS = 60_000
const LONGEST_WAY_MS = 400

interface Served {
  status: number
  body: unknown
}

/**
 * One call over a network that loses requests, loses answers, and brings requests twice. `serve` is the control plane's own
 * function. The way goes on whatever becomes of the caller: a frozen agent's request arrives all the same.
 */
export async function callOver<T>(
  world: World,
  machine: Machine,
  call: { what: string; schema: Parameters<typeof readAnswer<T>>[1]; serve: () => Promise<Served> },
): Promise<Answer<T>> {
  const { simulation, oracle, scenario } = world
  const { faults } = scenario
  const { process } = machine
  const { random } = process
  await process.step()
  const isCut = (): boolean => simulation.nowMs() < machine.cutUntilMs
  const way = async (): Promise<void> => await simulation.sleep(random.between(2, LONGEST_WAY_MS))
  const isLost = (probability: number): boolean => isCut() || (faults.areOn && random.chance(probability))

  const serve = async (): Promise<Response> =>
    await simulation.busy(async () => {
      try {
        const { status, body } = await call.serve()
        return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } })
      } catch (error) {
        if (error instanceof SyncError) {
          oracle.note(`${machine.name}: ${call.what} is answered with ${error.code}`)
          return problemResponse(error, 'history')
        }
        oracle.violation(`the control plane failed at ${call.what}: ${String(error)}`)
        return problemResponse(new SyncError('internal', 'Failed.', { retryable: true }), 'history')
      }
    })
  const answered = Promise.withResolvers<Response | undefined>()
  simulation.start(async () => {
    const isDuplicated = faults.areOn && random.chance(faults.duplicated)
    await way()
    if (!isLost(faults.requestLost)) {
      const response = await serve()
      const isReplyLost = isLost(faults.replyLost)
      if (isReplyLost) oracle.note(`${machine.name}: the answer to ${call.what} is lost`)
      await way()
      if (!isReplyLost && !isCut()) answered.resolve(response)
    }
    if (!isDuplicated) return
    await simulation.sleep(random.between(0, LATEST_DUPLICATE_MS))
    oracle.note(`${machine.name}: ${call.what} arrives again`)
    await serve()
  })
  simulation.start(async () => {
    await simulation.sleep(CALL_TIMEOUT_MS)
    answered.resolve(undefined)
  })
  const response = await answered.promise
  await process.thaw()
  if (!response) throw unreachable('no answer in time')
  return await simulation.busy(async () => await readAnswer(response, call.schema))
}
