import { existsSync } from 'node:fs'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, inject, test } from 'vitest'
import { splitEntries } from '../src/postgres/dump-entries.ts'
import { dumpSchema } from '../src/postgres/dump-schema.ts'
import { readFingerprint, readFingerprintLines } from '../src/postgres/fingerprint.ts'
import { openSession, type Session } from '../src/postgres/session.ts'
import { richSchema } from './postgres-rich-schema.ts'

const { signal } = new AbortController()
const named = ({ url }: TestDatabase) => ({ name: 'production', url, viaProxy: false })
const sections = ['pre-data', 'post-data']

async function open(database: TestDatabase): Promise<Session> {
  return await openSession(named(database), { purpose: 'test', signal })
}

async function dump(database: TestDatabase, ...args: string[]): Promise<string[]> {
  const texts: string[] = []
  for (const section of sections) {
    texts.push(await dumpSchema(named(database), { args: [`--section=${section}`, ...args], signal }))
  }
  return texts
}

/** Runs every entry alone, in one transaction, after the settings that the dump had in force for it. */
async function replay(texts: string[], into: TestDatabase): Promise<void> {
  await using session = await open(into)
  await session.run('begin')
  let settings = ''
  for (const entry of texts.flatMap((text) => splitEntries(text).entries)) {
    if (entry.settings !== settings) await session.run(entry.settings)
    settings = entry.settings
    await session.run(entry.sql)
  }
  await session.run('commit')
}

async function copyOf(database: TestDatabase, ...args: string[]): Promise<TestDatabase> {
  const copy = await createDatabase()
  try {
    await replay(await dump(database, ...args), copy)
    return copy
  } catch (error) {
    await copy[Symbol.asyncDispose]()
    throw error
  }
}

/** What each side has alone: of equal fingerprints nothing. */
async function differences(a: TestDatabase, b: TestDatabase, options = {}): Promise<string[]> {
  await using one = await open(a)
  await using other = await open(b)
  const [left, right] = [await readFingerprintLines(one, options), await readFingerprintLines(other, options)]
  const only = (lines: string[], others: string[], sign: string) => {
    const known = new Set(others)
    return lines.filter((line) => !known.has(line)).map((line) => `${sign} ${line}`)
  }
  return [...only(left, right, '-'), ...only(right, left, '+')].toSorted((x, y) => (x.slice(2) < y.slice(2) ? -1 : 1))
}

async function hash(database: TestDatabase, options = {}): Promise<string> {
  await using session = await open(database)
  return (await readFingerprint(session, options)).sha256
}

test('A rich schema survives dump, replay and dump again, with the same fingerprint', async () => {
  await using source = await createDatabase({ sql: richSchema(inject('postgres').major) })
  await using copy = await copyOf(source)
  expect(await differences(source, copy)).toEqual([])
  expect(await hash(copy)).toBe(await hash(source))
  expect(await dump(copy)).toEqual(await dump(source))
})
