import { existsSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startTypesense, type FakeTypesense } from '../testing/typesense.ts'
import { replay, type Recorded } from '../testing/typesense/replay.ts'

/*
 * Our search server held against what a real one answered: status, content type and body, volatile numbers aside. The whole
 * recording is not part of the project; the most telling of its pairs are (typesense-recorded.jsonl).
 */

const KEPT = 'shared/test/typesense-recorded.jsonl'
const TRANSCRIPT = '../shared/typesense/transcript.jsonl'
/** The one it was recorded from. */
const VERSION = '30.0-dev-4a092b0'

let typesense: FakeTypesense
beforeAll(async () => void (typesense = await startTypesense({ version: VERSION })))
afterAll(async () => await typesense.close())

function readRecorded(path: string): Recorded[] {
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'utf8').trim().split('\n')
  return lines.map((line) => JSON.parse(line) as Recorded)
}

const transcript = readRecorded(TRANSCRIPT)
if (transcript.length === 0) {
  process.stdout.write(`Skipped: the whole recording of a real search server is not at ${TRANSCRIPT}.\n`)
}

describe('what a real server answered', () => {
  it('is answered alike by ours, in the pairs that the project keeps', async () => {
    const kept = readRecorded(KEPT)
    expect(kept.length).toBeGreaterThan(50)
    for (const { name, was, is } of await replay(typesense, kept)) expect({ name, ...is }).toEqual({ name, ...was })
  })

  it.skipIf(transcript.length === 0)('is answered alike by ours, request after request', async () => {
    await using fresh = await startTypesense({ version: VERSION })
    expect(transcript.length).toBeGreaterThanOrEqual(87)
    for (const { name, was, is } of await replay(fresh, transcript)) expect({ name, ...is }).toEqual({ name, ...was })
  })
})
