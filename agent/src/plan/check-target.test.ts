import { expect, test } from 'vitest'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import type { DumpEntry } from '../postgres/dump-entries.ts'
import type { Session } from '../postgres/session.ts'
import { checkCreate, checkVersions } from './check-target.ts'

/** A server as the checks see it: what the catalogue query with this word in it answers. */
function server(answers: Record<string, object[]>): Session {
  const refuse = (): never => {
    throw new Error('the checks only ask')
  }
  const partial: Pick<Session, 'query' | 'run' | 'database'> = {
    database: 'staging',
    run: refuse,
    query: async <Row extends object>(sql: string) => {
      const [, rows] = Object.entries(answers).find(([word]) => sql.includes(word)) ?? refuse()
      return await Promise.resolve(rows as Row[])
    },
  }
  return partial as Session
}

const ordinary = {
  pg_available_extensions: [{ name: 'plpgsql' }, { name: 'citext' }],
  pg_extension: [{ name: 'private', version: '1', schema: 'public' }],
  pg_roles: [{ name: 'reader' }, { name: 'odd "name"' }],
  has_database_privilege: [{ allowed: true }],
  max_locks_per_transaction: [{ slots: '6400', each: '64', used: '0' }],
}
const entry = (type: string, name: string, sql = ''): DumpEntry => ({
  type,
  schema: 'public',
  name,
  owner: '',
  sql,
  settings: '',
  raw: sql,
})

test('every extension that the server neither offers nor has is named at once', async () => {
  const entries = ['citext', 'postgis', 'private', 'vector'].map((name) => entry('EXTENSION', name))
  await expect(checkCreate(server(ordinary), entries)).rejects.toMatchObject({
    code: 'extension-missing',
    message: expect.stringContaining('postgis, vector'),
    details: [expect.stringContaining('postgis'), expect.stringContaining('vector')],
  })
})

test.each([
  ['CREATE POLICY p ON public.t;', true],
  ['CREATE POLICY p ON public.t TO reader USING (true);', true],
  ['CREATE POLICY "p TO x" ON public.t FOR SELECT TO reader, "odd ""name""" WITH CHECK (true);', true],
  ['CREATE POLICY p ON public.t AS RESTRICTIVE FOR ALL TO reader, writer USING (true);', false],
  ['CREATE POLICY p ON public."t TO" TO "odd name";', false],
])('the roles of %s are there: %s', async (sql, areThere) => {
  const check = checkCreate(server(ordinary), [entry('POLICY', 't p', sql)])
  const code = await check.then(
    () => 'none',
    (error: unknown) => toSyncError(error).code,
  )
  expect(code).toBe(areThere ? 'none' : 'role-missing')
})

test('a role that may create nothing, and a lock table that is too small, are told before they are met', async () => {
  const weak = server({ ...ordinary, has_database_privilege: [{ allowed: false }] })
  await expect(checkCreate(weak, [])).rejects.toMatchObject({ code: 'permission-denied' })
  const small = server({ ...ordinary, max_locks_per_transaction: [{ slots: '640', each: '8', used: '0' }] })
  const tables = Array.from({ length: 200 }, (_, n) => entry('TABLE', `t${n}`))
  await expect(checkCreate(small, tables)).rejects.toMatchObject({
    hint: expect.stringContaining('to 10 or more (it is 8)'),
  })
})

test('only an older major version is refused', () => {
  expect(() => checkVersions(160_014, 160_001)).not.toThrow()
  expect(() => checkVersions(160_014, 180_004)).not.toThrow()
  expect(() => checkVersions(180_004, 170_010)).toThrow(expect.objectContaining({ code: 'target-older' }))
})
