import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { phaseSchema } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ControlPlaneError } from '../poll/control-plane-error.ts'
import { deadlineOf } from './lease-memory.ts'
import { complete, MINUTE_MS, startScene, type Scene } from './testing/upload-scene.ts'

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

describe("the lease's thread", () => {
  it('renews when this one cannot: the later deadline counts, and nobody has lost anything', async () => {
    await scene.clock.pass(0)
    scene.plane.isDown = true
    await scene.clock.pass(70_000)
    expect(scene.upload.lease.remainingMs()).toBe(10_000)
    const waiting = scene.upload.lease.waitUntilValid(60_000, MINUTE_MS, new AbortController().signal)
    const { memory } = scene.thread
    memory.setDeadline(deadlineOf(memory.stamp(), 90_000))
    expect(scene.upload.lease.remainingMs()).toBe(80_000)
    scene.thread.onRenewed({ cancel: false, phase: 'swapping' })
    await expect(waiting).resolves.toBeUndefined()
    await scene.clock.pass(80_000)
    expect(scene.upload.lease.remainingMs()).toBe(0)
  })

  it('knows of the renewals, the phase and the movement of this one', async () => {
    const { memory } = scene.thread
    await scene.clock.pass(1000)
    expect(memory.sinceRenewalMs()).toBe(1000)
    expect(memory.leaseMs()).toBe(90_000)
    scene.reporter.phase('building')
    await scene.clock.pass(7000)
    expect(memory.phase()).toBe(phaseSchema.options.indexOf('building'))
    expect(memory.stalledMs()).toBe(7000)
  })

  it('hears of a cancel, which is told once, whoever hears it', async () => {
    await scene.clock.pass(100)
    scene.thread.onRenewed({ cancel: true, phase: 'swapping' })
    expect(scene.cancels).toBe(1)
    scene.plane.cancel = true
    await scene.clock.pass(MINUTE_MS)
    expect(scene.cancels).toBe(1)
  })

  it('that told a phase which is over by now is corrected at once', async () => {
    scene.reporter.phase('loading')
    await scene.clock.pass(5000)
    const before = scene.plane.reports.length
    scene.thread.onRenewed({ cancel: false, phase: 'loading' })
    await scene.clock.pass(100)
    expect(scene.plane.reports).toHaveLength(before)
    scene.thread.onRenewed({ cancel: false, phase: 'exporting' })
    await scene.clock.pass(100)
    expect(scene.plane.reports).toHaveLength(before + 1)
    expect(scene.plane.reports.at(-1)?.body.phase).toBe('loading')
  })

  it('that is refused ends no job: this one asks for itself', async () => {
    await scene.clock.pass(5000)
    const before = scene.plane.reports.length
    scene.thread.onRefused()
    await scene.clock.pass(100)
    expect(scene.plane.reports).toHaveLength(before + 1)
    expect(scene.lost).toEqual([])
    scene.plane.refuseWith = new ControlPlaneError('job-finished', 'no', { status: 409 })
    scene.thread.onRefused()
    await scene.clock.pass(100)
    expect(scene.lost.map(({ code }) => code)).toEqual(['job-finished'])
  })

  it('that dies is told of, and reports go on renewing', async () => {
    scene.thread.onEnd(new SyncError('internal', 'gone'))
    await scene.clock.pass(65_000)
    expect(scene.troubles.map(({ message }) => message)).toEqual(['gone'])
    expect(scene.plane.reports.map(({ atMs }) => atMs)).toEqual([1000, 21_000, 41_000, 61_000])
  })

  it('ends with the job', async () => {
    await complete(scene)
    expect(scene.hasThread).toBe(false)
  })
})

describe('a job that does not move', () => {
  const told = () => scene.plane.events.map(({ type, level, data }) => ({ type, level, data }))
  const stalls = () => told().filter(({ type }) => ['job.stalled', 'job.moving'].includes(type))

  it('says so once after five minutes, and once when it moves again', async () => {
    scene.reporter.phase('loading')
    await scene.clock.pass(1000)
    scene.reporter.progress({ table: 'public.Part', bytes: 1 })
    await scene.clock.pass(4 * MINUTE_MS)
    expect(stalls()).toEqual([])
    await scene.clock.pass(10 * MINUTE_MS)
    const data = { phase: 'loading', seconds: expect.any(Number) as number }
    const stalled = { type: 'job.stalled', level: 'warning', data: { ...data, table: 'public.Part' } }
    expect(stalls()).toEqual([stalled])
    expect(scene.plane.reports.at(-1)?.body.stalled_ms).toBeGreaterThan(13 * MINUTE_MS)
    scene.reporter.progress({ bytes: 1 })
    await scene.clock.pass(MINUTE_MS)
    expect(stalls()).toHaveLength(1)
    scene.reporter.progress({ bytes: 2 })
    await scene.clock.pass(MINUTE_MS)
    expect(stalls()).toEqual([stalled, { type: 'job.moving', level: 'info', data }])
    await scene.clock.pass(6 * MINUTE_MS)
    expect(stalls()).toHaveLength(3)
  })

  it('is warned of only where nothing else is known to be waited for', async () => {
    scene.reporter.phase('building')
    await scene.clock.pass(6 * MINUTE_MS)
    scene.reporter.phase('staging')
    scene.reporter.event('lock.waiting', { attempt: 1 })
    await scene.clock.pass(6 * MINUTE_MS)
    scene.reporter.phase('reindexing')
    await scene.clock.pass(1000)
    scene.reporter.progress({ table: 'components', waitingFor: 'Typesense' })
    await scene.clock.pass(6 * MINUTE_MS)
    const stalled = told().filter(({ type }) => type === 'job.stalled')
    expect(stalled.map(({ level, data }) => [level, data['phase'], data['waiting_for']])).toEqual([
      ['info', 'building', undefined],
      ['info', 'staging', 'lock'],
      ['info', 'reindexing', 'Typesense'],
    ])
  })

  it('is not one whose documents alone grow', async () => {
    scene.reporter.phase('reindexing')
    for (let n = 0; n < 20; n += 1) {
      scene.reporter.progress({ documents: n })
      await scene.clock.pass(MINUTE_MS)
    }
    expect(stalls()).toEqual([])
  })
})

describe('somebody who is there', () => {
  it('makes a silent job ask more often, and nobody makes it ask as before', async () => {
    await scene.upload[Symbol.asyncDispose]()
    scene = startScene(stateDir, undefined, (plane) => (plane.renewAfterMs = 2000))
    await scene.clock.pass(9000)
    expect(scene.plane.reports.map(({ atMs }) => atMs)).toEqual([1000, 3000, 5000, 7000, 9000])
    scene.plane.renewAfterMs = undefined
    await scene.clock.pass(22_000)
    expect(scene.plane.reports.map(({ atMs }) => atMs).slice(5)).toEqual([11_000, 31_000])
  })
})
