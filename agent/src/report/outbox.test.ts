import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Level } from '@multiboard-sync/shared/event'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { listOutboxes, openOutbox, type Outbox } from './outbox.ts'

const JOB = 'j4k7q2m9xw1ab'
const ALL = [Infinity, Infinity] as const

let stateDir: string
let path: string

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'outbox-'))
  path = join(stateDir, 'outbox', `${JOB}-2.jsonl`)
})

afterEach(async () => await rm(stateDir, { recursive: true }))

const open = (capBytes?: number): Outbox =>
  openOutbox({ stateDir, job: JOB, epoch: 2, ...(capBytes === undefined ? {} : { capBytes }) })

function say(outbox: Outbox, n: number, level: Level = 'info', type = 'export.note'): number | undefined {
  return outbox.append({ type, level, at: '2026-11-22T12:00:00.000Z', data: { n, filler: 'ü'.repeat(40) } })
}
const numbers = (outbox: Outbox): unknown[] => outbox.unacked(...ALL).map(({ aseq, data }) => [aseq, data['n']])

it('numbers events from 1 and gives back what is not acknowledged', () => {
  const outbox = open()
  expect([say(outbox, 10), say(outbox, 11), say(outbox, 12)]).toEqual([1, 2, 3])
  outbox.ack(1)
  expect(numbers(outbox)).toEqual([
    [2, 11],
    [3, 12],
  ])
  outbox.ack(0)
  expect(outbox.unacked(2, Infinity).map(({ aseq }) => aseq)).toEqual([1, 2])
  outbox.ack(3)
  expect([outbox.ackedAseq, outbox.lastAseq, numbers(outbox)]).toEqual([3, 3, []])
  outbox.close()
})

it('gives batches that hold no more bytes than asked for', () => {
  const outbox = open()
  for (let n = 0; n < 50; n += 1) say(outbox, n)
  const batch = outbox.unacked(200, 2000)
  expect(batch.length).toBeGreaterThan(5)
  expect(Buffer.byteLength(batch.map((event) => JSON.stringify(event)).join('\n'))).toBeLessThanOrEqual(2000)
  outbox.close()
})

it('survives a killed process without a gap or a number given twice', () => {
  const first = open()
  for (let n = 0; n < 5; n += 1) say(first, n)
  first.ack(3)
  const second = open()
  expect(second.lastAseq).toBe(5)
  expect(say(second, 5)).toBe(6)
  expect(numbers(second)).toEqual([0, 1, 2, 3, 4, 5].map((n) => [n + 1, n]))
  for (const outbox of [first, second]) outbox.close()
})

it('cuts off a line that a crash left half written', async () => {
  const first = open()
  say(first, 0)
  first.close()
  await appendFile(path, `{"aseq":2,"type":"export.note","data":{"filler":"${'x'.repeat(500)}`)
  const second = open()
  expect(say(second, 1)).toBe(2)
  second.close()
  const third = open()
  expect(numbers(third)).toEqual([
    [1, 0],
    [2, 1],
  ])
  third.close()
  expect((await readFile(path, 'utf8')).trim().split('\n')).toHaveLength(2)
})

it('goes on behind the number that the control plane has when the disk lost more', async () => {
  const outbox = open()
  say(outbox, 0)
  outbox.ack(7)
  expect(say(outbox, 1)).toBe(8)
  expect(numbers(outbox)).toEqual([[8, 1]])
  outbox.close()
})

it('leaves out debug, then info when it is full, never warnings, errors or the job’s own events', async () => {
  const cap = 20_000
  const outbox = open(cap)
  let n = 0
  const fill = (level: Level): number => {
    let kept = 0
    for (let tries = 0; tries < 1000 && say(outbox, n++, level) !== undefined; tries += 1) kept += 1
    return kept
  }
  expect(fill('debug')).toBeGreaterThan(50)
  expect(say(outbox, n++, 'info')).toBeDefined()
  expect(fill('info')).toBeGreaterThan(5)
  expect((await stat(path)).size).toBeLessThan(cap)
  for (let more = 0; more < 50; more += 1) {
    expect(say(outbox, n++, 'warning')).toBeDefined()
    expect(say(outbox, n++, 'error')).toBeDefined()
    expect(say(outbox, n++, 'info', 'job.phase')).toBeDefined()
    expect(say(outbox, n++, 'info')).toBeUndefined()
    expect(say(outbox, n++, 'debug')).toBeUndefined()
  }
  const before = outbox.lastAseq
  outbox.ack(before)
  expect(say(outbox, n++)).toBe(before + 2)
  expect(say(outbox, n++)).toBe(before + 3)
  const [record, ...later] = outbox.unacked(...ALL)
  expect(record).toMatchObject({
    aseq: before + 1,
    type: 'events.dropped',
    level: 'warning',
    data: { debug: 51, info: 51 },
  })
  expect(later.map(({ type }) => type)).toEqual(['export.note', 'export.note'])
  outbox.close()
})

it('writes down what was left out before the job ends, once', () => {
  const outbox = open(2000)
  for (let n = 0; n < 100; n += 1) say(outbox, n)
  outbox.noteDropped()
  outbox.noteDropped()
  const records = outbox.unacked(...ALL).filter(({ type }) => type === 'events.dropped')
  expect(records).toHaveLength(1)
  const kept = outbox.lastAseq - 1
  expect(records[0]?.data).toMatchObject({ info: 100 - kept })
  outbox.close()
})

it('is listed until the end of its job is acknowledged', async () => {
  expect(await listOutboxes(stateDir)).toEqual([])
  const outbox = open()
  await writeFile(join(stateDir, 'outbox', 'README'), 'not an outbox')
  expect(await listOutboxes(stateDir)).toEqual([{ job: JOB, epoch: 2 }])
  await outbox.remove()
  expect(await listOutboxes(stateDir)).toEqual([])
})
