import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ControlPlaneError, unreachable } from '../poll/control-plane-error.ts'
import type { FakeControlPlane, Fault } from './testing/fake-control-plane.ts'
import { complete, JOB, MINUTE_MS, result, startScene, type Scene } from './testing/upload-scene.ts'

let stateDir: string
let scene: Scene

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'upload-'))
  scene = startScene(stateDir)
})

afterEach(async () => {
  await scene.upload[Symbol.asyncDispose]()
  await rm(stateDir, { recursive: true })
})

/** The same from the very first request on, for tests that want something else of the control plane from the start. */
async function restart(prepare: (plane: FakeControlPlane) => void, random?: () => number): Promise<void> {
  await scene.upload[Symbol.asyncDispose]()
  scene = startScene(stateDir, random, prepare)
}

const numbers = ({ plane }: Scene): unknown[] => plane.events.map(({ aseq, data }) => [aseq, data['n']])
const counted = (count: number): unknown[] => Array.from({ length: count }, (_, n) => [n + 1, n])

describe('the pace of reports', () => {
  it('is one at once, then one every 20 s while nothing happens', async () => {
    await scene.clock.pass(65_000)
    expect(scene.plane.reports.map(({ atMs }) => atMs)).toEqual([1000, 21_000, 41_000, 61_000])
  })

  it('varies by 10 % so that agents do not renew in step', async () => {
    const chances = [0, 1, 0.25]
    await restart(
      () => undefined,
      () => chances.shift() ?? 0.5,
    )
    await scene.clock.pass(58_000)
    expect(scene.plane.reports.map(({ atMs }) => atMs)).toEqual([1000, 19_000, 41_000])
  })

  it('follows a short lease: one every quarter of it', async () => {
    await restart((plane) => (plane.leaseMs = 12_000))
    await scene.clock.pass(10_000)
    expect(scene.plane.reports.map(({ atMs }) => atMs)).toEqual([1000, 4000, 7000, 10_000])
  })

  it('is at most one every 2 s, however much happens', async () => {
    for (let n = 0; n < 100; n += 1) {
      scene.reporter.event('export.table-done', { n })
      scene.reporter.progress({ bytes: n })
      await scene.clock.pass(100)
    }
    await scene.clock.pass(2000)
    const times = scene.plane.reports.map(({ atMs }) => atMs)
    for (const [index, atMs] of times.entries()) expect(atMs - (times[index - 1] ?? -2000)).toBeGreaterThanOrEqual(2000)
    expect(times.length).toBeGreaterThan(4)
    expect(numbers(scene)).toEqual(counted(100))
  })

  it('does not wait when the phase changes', async () => {
    await scene.clock.pass(500)
    scene.reporter.phase('swapping')
    await scene.clock.pass(0)
    expect(scene.plane.reports.at(-1)).toMatchObject({ atMs: 1500, body: { phase: 'swapping' } })
  })

  it('sends at most 200 events and 256 KiB at once', async () => {
    for (let n = 0; n < 450; n += 1) scene.reporter.event('export.note', { n, text: 'x'.repeat(n < 200 ? 10 : 5000) })
    await scene.clock.pass(30_000)
    expect(numbers(scene)).toEqual(counted(450))
    for (const { body } of scene.plane.reports) {
      expect(body.events.length).toBeLessThanOrEqual(200)
      expect(Buffer.byteLength(JSON.stringify(body))).toBeLessThanOrEqual(256 * 1024)
    }
    expect(scene.plane.reports.find(({ body }) => body.events.length > 0)?.body.events).toHaveLength(200)
  })

  it('says how long nothing has moved', async () => {
    scene.reporter.phase('loading')
    scene.reporter.progress({ bytes: 10 })
    await scene.clock.pass(5000)
    scene.reporter.progress({ bytes: 10 })
    await scene.clock.pass(56_000)
    expect(scene.plane.reports.at(-1)?.body.stalled_ms).toBe(40_000)
    expect(scene.plane.reports.at(-1)?.body.progress).toMatchObject({ phase: 'loading', bytes: 10 })
  })
})

describe('a control plane that is away', () => {
  it('for a minute costs nothing: the job goes on and every event arrives later, once, in order', async () => {
    scene.reporter.event('export.begin', { n: 0 })
    await scene.clock.pass(3000)
    scene.plane.isDown = true
    for (let n = 1; n <= 600; n += 1) {
      scene.reporter.event('export.table-done', { n })
      await scene.clock.pass(100)
    }
    expect(scene.plane.events).toHaveLength(1)
    scene.plane.isDown = false
    await scene.clock.pass(30_000)
    expect(numbers(scene)).toEqual(counted(601))
    expect(scene.lost).toEqual([])
    await expect(complete(scene)).resolves.toBe('succeeded')
  })

  it('is not asked more often than the backoff allows', async () => {
    scene.plane.isDown = true
    let asked = 0
    scene.plane.report = async () => {
      asked += 1
      return await Promise.reject(unreachable('down', { retryAfterMs: asked === 1 ? 30_000 : undefined }))
    }
    scene.reporter.phase('loading')
    await scene.clock.pass(29_000)
    expect(asked).toBe(1)
    await scene.clock.pass(5 * MINUTE_MS)
    expect(asked).toBeGreaterThan(15)
    expect(asked).toBeLessThan(40)
  })

  it('is told of the end when it is back', async () => {
    scene.reporter.event('job.finished', { n: 0 })
    scene.plane.isDown = true
    const ending = complete(scene)
    await scene.clock.pass(2 * MINUTE_MS)
    scene.plane.isDown = false
    await expect(ending).resolves.toBe('succeeded')
    expect(numbers(scene)).toEqual(counted(1))
  })

  // Many schedules: seconds on a machine that is busy with other things.
  it('loses no event to any order of lost, doubled, late and slow requests', async () => {
    const fault = fc.constantFrom<Fault>('none', 'request-lost', 'answer-lost', 'late-twin', 'slow')
    const step = fc.record({ events: fc.nat(260), waitMs: fc.constantFrom(0, 100, 2000, 7000), phase: fc.boolean() })
    await scene.upload[Symbol.asyncDispose]()
    let run = 0
    await fc.assert(
      fc.asyncProperty(fc.array(fault, { maxLength: 30 }), fc.array(step, { maxLength: 6 }), async (faults, steps) => {
        run += 1
        scene = startScene(stateDir, () => (run * 0.37) % 1)
        const { plane, reporter, clock } = scene
        plane.nextFault = () => faults.shift() ?? 'none'
        let n = 0
        for (const { events, waitMs, phase } of steps) {
          if (phase) scene.upload.sink.phase('loading')
          for (let left = events; left > 0; left -= 1) reporter.event('export.table-done', { n: n++ })
          await clock.pass(waitMs)
        }
        await expect(complete(scene)).resolves.toBe('succeeded')
        expect(numbers(scene)).toEqual(counted(n))
        expect(scene.lost).toEqual([])
        await scene.upload[Symbol.asyncDispose]()
      }),
      { numRuns: 40, seed: 20261122 },
    )
  }, 30_000)

  it('gets what it lost again when it asks for it', async () => {
    for (let n = 0; n < 10; n += 1) scene.reporter.event('export.note', { n })
    await scene.clock.pass(3000)
    scene.plane.events.length = 4
    scene.reporter.event('export.note', { n: 10 })
    await scene.clock.pass(10_000)
    expect(numbers(scene)).toEqual(counted(11))
  })
})

describe('a job that is not ours any more', () => {
  it.each(['stale-epoch', 'fence-superseded', 'job-finished', 'not-found'] as const)(
    'ends once with %s',
    async (code) => {
      await scene.clock.pass(1000)
      scene.plane.refuseWith = new ControlPlaneError(code, 'no', { status: 409 })
      scene.reporter.phase('loading')
      await scene.clock.pass(MINUTE_MS)
      expect(scene.lost.map((error) => error.code)).toEqual([code])
      expect(scene.upload.lease.remainingMs()).toBe(0)
      await expect(scene.upload.flush(new AbortController().signal)).rejects.toMatchObject({ code })
    },
  )

  it('is not what an unknown refusal means: the job goes on', async () => {
    scene.plane.refuseWith = new ControlPlaneError('control-plane-refused', 'no', { status: 403 })
    scene.reporter.event('export.note', { n: 0 })
    await scene.clock.pass(MINUTE_MS)
    expect(scene.lost).toEqual([])
    scene.plane.refuseWith = undefined
    await scene.clock.pass(30_000)
    expect(numbers(scene)).toEqual(counted(1))
  })

  it('is told as canceled once', async () => {
    scene.plane.cancel = true
    await scene.clock.pass(MINUTE_MS)
    expect(scene.cancels).toBe(1)
  })
})

describe('the lease', () => {
  const never = new AbortController().signal

  it('counts from when the request was sent, less 10 s', async () => {
    await restart((plane) => (plane.nextFault = () => 'slow'))
    expect(scene.upload.lease.remainingMs()).toBe(0)
    await scene.clock.pass(3000)
    expect(scene.upload.lease.remainingMs()).toBe(77_000)
    scene.plane.isDown = true
    await scene.clock.pass(77_000)
    expect(scene.upload.lease.remainingMs()).toBe(0)
    expect(scene.lost).toEqual([])
  })

  it('T9, G3: is one only when the control plane has heard that the target may change now', async () => {
    await restart(() => undefined)
    scene.upload.sink.phase('proving')
    await scene.clock.pass(60_000)
    expect(scene.plane.reports.length).toBeGreaterThan(2)
    expect(scene.upload.lease.remainingMs()).toBe(0)
    const waiting = scene.upload.lease.waitUntilValid(60_000, MINUTE_MS, never)
    scene.reporter.phase('swapping')
    await scene.clock.pass(100)
    await expect(waiting).resolves.toBeUndefined()
    expect(scene.upload.lease.remainingMs()).toBe(79_900)
  })

  it('G8: is none when the answer to that is a cancel', async () => {
    await restart(() => undefined)
    scene.upload.sink.phase('proving')
    await scene.clock.pass(1000)
    scene.plane.cancel = true
    scene.reporter.phase('swapping')
    await scene.clock.pass(1000)
    expect(scene.cancels).toBe(1)
    expect(scene.upload.lease.remainingMs()).toBe(0)
  })

  it('loses at most a quarter to that', async () => {
    await restart((plane) => (plane.leaseMs = 12_000))
    await scene.clock.pass(0)
    expect(scene.upload.lease.remainingMs()).toBe(9000)
  })

  it('is renewed at once when more of it is needed', async () => {
    await scene.clock.pass(15_000)
    const waiting = scene.upload.lease.waitUntilValid(78_000, 1000, never)
    await scene.clock.pass(10)
    await expect(waiting).resolves.toBeUndefined()
    expect(scene.plane.reports).toHaveLength(2)
  })

  it('is waited for while the control plane is away, and given up in the end', async () => {
    await restart((plane) => (plane.isDown = true))
    const patient = scene.upload.lease.waitUntilValid(60_000, 5 * MINUTE_MS, never)
    const hasty = expect(scene.upload.lease.waitUntilValid(60_000, MINUTE_MS, never)).rejects.toMatchObject({
      code: 'lease-lost',
    })
    await scene.clock.pass(2 * MINUTE_MS)
    await hasty
    scene.plane.isDown = false
    await scene.clock.pass(20_000)
    await expect(patient).resolves.toBeUndefined()
  })

  it('that is too short even when fresh is not asked for again and again', async () => {
    await restart((plane) => (plane.leaseMs = 30_000))
    const waiting = expect(scene.upload.lease.waitUntilValid(60_000, MINUTE_MS, never)).rejects.toMatchObject({
      code: 'lease-lost',
    })
    await scene.clock.pass(2 * MINUTE_MS)
    await waiting
    // Renewing goes on, every quarter of its 30 s less the jitter of 10 %: 120 s / 6.75 s, and no request more.
    expect(scene.plane.reports.length).toBeLessThanOrEqual(18)
  })

  it('stops waiting when the job is stopped', async () => {
    await restart((plane) => (plane.isDown = true))
    const controller = new AbortController()
    const reason = new Error('canceled')
    const waiting = expect(scene.upload.lease.waitUntilValid(1, MINUTE_MS, controller.signal)).rejects.toBe(reason)
    await scene.clock.pass(10)
    controller.abort(reason)
    await waiting
  })
})

describe('the end of a job', () => {
  it('is told after its last event and removes the outbox', async () => {
    const path = join(stateDir, 'outbox', `${JOB}-1.jsonl`)
    scene.reporter.event('job.finished', { n: 0 })
    expect(existsSync(path)).toBe(true)
    await expect(complete(scene)).resolves.toBe('succeeded')
    expect(scene.plane.completions).toEqual([{ epoch: 1, result, last_aseq: 1 }])
    expect(readdirSync(join(stateDir, 'outbox'))).toEqual([])
    await scene.clock.pass(MINUTE_MS)
    expect(scene.lost).toEqual([])
  })

  it('waits for events that the control plane says are missing', async () => {
    for (let n = 0; n < 5; n += 1) scene.reporter.event('export.note', { n })
    await scene.clock.pass(3000)
    scene.plane.events.length = 2
    await expect(complete(scene)).resolves.toBe('succeeded')
    expect(scene.plane.completions.length).toBeGreaterThan(1)
    expect(numbers(scene)).toEqual(counted(5))
  })

  it('is still told when the job was lost, without the events it may not send', async () => {
    scene.reporter.event('export.note', { n: 0 })
    await scene.clock.pass(3000)
    scene.plane.refuseWith = new ControlPlaneError('fence-superseded', 'no', { status: 409 })
    scene.reporter.event('export.note', { n: 1 })
    await scene.clock.pass(3000)
    scene.plane.refuseWith = undefined
    await expect(complete(scene)).resolves.toBe('succeeded')
    expect(scene.plane.completions.at(-1)?.last_aseq).toBe(1)
  })

  it('is told without events that the control plane refuses again and again', async () => {
    scene.plane.refuseWith = new ControlPlaneError('invalid-request', 'no', { status: 422 })
    scene.reporter.event('export.note', { n: 0 })
    const { plane } = scene
    const take = plane.complete.bind(plane)
    plane.complete = async (...request) => {
      plane.refuseWith = undefined
      return await take(...request)
    }
    await expect(complete(scene)).resolves.toBe('succeeded')
    expect(plane.completions.at(-1)?.last_aseq).toBe(0)
  })

  it('is not repeated when it is refused for good', async () => {
    scene.plane.complete = async () => await Promise.reject(new ControlPlaneError('stale-epoch', 'no', { status: 409 }))
    await expect(complete(scene)).rejects.toMatchObject({ code: 'stale-epoch' })
  })

  it('does not hold up an agent that shuts down', async () => {
    scene.plane.isDown = true
    scene.reporter.event('job.finished', { n: 0 })
    const ending = expect(complete(scene)).rejects.toThrow('bye')
    await scene.clock.pass(1000)
    scene.stop.abort(new Error('bye'))
    await ending
    expect(existsSync(join(stateDir, 'outbox', `${JOB}-1.jsonl`))).toBe(true)
  })
})
