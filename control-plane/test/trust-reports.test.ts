import fc from 'fast-check'
import { expect, test } from 'vitest'
import { eventsOf, startSurroundings, type Agent, type Answer } from './surroundings.ts'

const sync = { kind: 'sync', source: 'production', target: 'staging' }
const RUNS = 25
const EVENTS = 40
/** More than any schedule needs; a server that never acknowledges must not make a test that never ends. */
const ROUNDS_MAX = 400
const TEST_TIMEOUT_MS = 120_000

/** What the network does to one upload, and which events are in it: from so many before or after what is acknowledged. */
const uploadOf = fc.record({
  fate: fc.constantFrom('arrives', 'arrives', 'arrives', 'request lost', 'answer lost', 'arrives twice'),
  offset: fc.constantFrom(-3, -1, 0, 0, 0, 0, 1, 4),
  length: fc.integer({ min: 0, max: 12 }),
  isShuffled: fc.boolean(),
})
type Upload = typeof uploadOf extends fc.Arbitrary<infer Value> ? Value : never

/** Two uploads at a time: the one that timed out, and the one that was sent after it. */
async function uploadAll(
  agent: Agent,
  order: Awaited<ReturnType<Agent['begin']>>,
  schedule: fc.Scheduler,
  uploads: () => Upload,
): Promise<{ gaps: number; repeated: number }> {
  let acknowledged = 0
  let gaps = 0
  let repeated = 0
  const late: Promise<unknown>[] = []
  const deliver = async (from: number, { length, isShuffled }: Upload): Promise<Answer> => {
    const to = Math.min(from + length - 1, EVENTS)
    const batch = to < from ? [] : eventsOf(from, to)
    await schedule.schedule(Promise.resolve(), `events ${from} to ${to}`)
    return await agent.report(order, isShuffled ? batch.toReversed() : batch)
  }
  const hear = async ({ body, status }: Answer): Promise<void> => {
    if (status !== 200 && status !== 416) throw new Error(`a report was answered ${status}`)
    if (status === 416) gaps += 1
    await schedule.schedule(Promise.resolve(), 'answer')
    // An answer that comes late knows less than one before it.
    acknowledged = Math.max(acknowledged, body.ack_aseq)
  }
  const send = async (upload: Upload): Promise<void> => {
    const from = Math.max(1, acknowledged + 1 + upload.offset)
    if (upload.fate === 'request lost') return
    if (upload.fate === 'arrives twice') late.push(deliver(from, upload))
    if (upload.fate === 'arrives twice' || from <= acknowledged) repeated += 1
    const answer = await deliver(from, upload)
    if (upload.fate !== 'answer lost') await hear(answer)
  }
  const loop = async (): Promise<void> => {
    for (let round = 0; acknowledged < EVENTS; round += 1) {
      if (round > ROUNDS_MAX) throw new Error(`only ${acknowledged} events are acknowledged`)
      await send(uploads())
    }
  }
  await schedule.waitFor(Promise.all([loop(), loop()]))
  await schedule.waitAll()
  await Promise.all(late)
  return { gaps, repeated }
}

test(
  'G13: uploads lost, repeated, reordered and delayed store each event once, in order, without a gap',
  { timeout: TEST_TIMEOUT_MS },
  async () => {
    await using here = await startSurroundings()
    const agent = await here.registerAgent('vps')
    const client = await here.database.client()
    let gaps = 0
    let repeated = 0
    const property = fc.asyncProperty(fc.scheduler(), fc.infiniteStream(uploadOf), async (schedule, stream) => {
      const { id } = await here.ask(sync)
      const order = await agent.begin()
      const uploads = (): Upload => stream.next().value as Upload
      const seen = await uploadAll(agent, order, schedule, uploads)
      gaps += seen.gaps
      repeated += seen.repeated
      expect((await agent.complete(order, {}, EVENTS)).status).toBe(200)
      const { rows } = await client.query<{ pos: number; aseq: number | null; n: number | null }>(
        "select pos, aseq, (data ->> 'n')::integer as n from multiboard.events where job = $1 order by pos",
        [id],
      )
      expect(rows.map(({ pos }) => pos)).toEqual(rows.map((_, index) => index + 1))
      const numbers = eventsOf(1, EVENTS).map(({ aseq }) => aseq)
      const stored = rows.filter(({ aseq }) => aseq !== null)
      expect(stored.map(({ aseq }) => aseq)).toEqual(numbers)
      expect(stored.map(({ n }) => n)).toEqual(numbers)
    })
    await fc.assert(property, { numRuns: RUNS, endOnFailure: true })
    expect(gaps).toBeGreaterThan(RUNS)
    expect(repeated).toBeGreaterThan(RUNS)
  },
)
