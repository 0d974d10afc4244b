import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { engineChoiceSchema, engineSchema } from '@multiboard-sync/shared/job'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { z } from 'zod'

/*
 * The cases of agent/test/scenarios: a folder each, with three files.
 *
 *   source.sql  the database that is read
 *   target.sql  the database that is changed, as it is before; `-- as the source` in its first line: a clone of the
 *               source, in which the rest of the file is run
 *   expect      lines of `key: value`, those of `expectSchema`; `#` begins a remark
 *
 * A line `-- then` in a .sql file begins a new transaction. The roles `scenario_owner`, `scenario_reader` and
 * `scenario_other` (nologin), `scenario_agent` (a member of scenario_owner) and `scenario_stranger` (of nothing) are there.
 */

const FOLDER = fileURLToPath(new URL('scenarios', import.meta.url))
const AS_THE_SOURCE = '-- as the source\n'
const NEXT = /^-- then$/m

const regexSchema = z.string().transform((text) => new RegExp(text))
const majorSchema = z.coerce.number().int().min(13).max(18)

export const expectSchema = z.strictObject({
  /** A true sentence; begins with the number of the finding that it is about, where there is one. */
  name: z.string(),
  /** Lowest and highest major version. */
  min: majorSchema.optional(),
  max: majorSchema.optional(),
  /** The engine asked for. */
  ask: engineChoiceSchema.optional(),
  /** Tables asked for; all when absent. */
  table: z.array(z.string()).optional(),
  /** The role that the agent has in the target. */
  as: z.string().optional(),
  /** Of a job that succeeds: the engine that was chosen. Else `outcome` and `code`. */
  engine: engineSchema.optional(),
  outcome: z.enum(['refused', 'failed']).optional(),
  code: z.string().optional(),
  /** Found in the plan's reason, or in the message and details of what was refused or failed. */
  reason: regexSchema.optional(),
  /** Found in the plan's notices, the message, the hint or the details. */
  says: z.array(regexSchema).optional(),
  /** Run in the target after the job, in one session; `query => answer` asks for one value or row, as text. */
  later: z.array(z.string()).optional(),
  /** Sequences of copied tables that tables outside count with, too: never set back. */
  ahead: z.array(z.string()).optional(),
  /** `equal`: an undo puts everything back, and its undo everything back again; else the code that an undo fails with. */
  undo: z.string().optional(),
  /**
   * `sorted`: pg_dump's lines may come in another order (inheritance); `bundled`: where no pg_dump for the server is at
   * hand, the agent's own is asked.
   */
  dump: z.array(z.enum(['sorted', 'bundled'])).optional(),
})
export type Expect = z.infer<typeof expectSchema>

const LISTS = new Set(['table', 'says', 'later', 'ahead', 'dump'])

export interface Scenario {
  folder: string
  expect: Expect
}

/** All cases by folder, their `expect` files parsed. */
export function readScenarios(): Scenario[] {
  return readdirSync(FOLDER)
    .toSorted()
    .map((folder) => ({ folder, expect: parseExpect(folder, readFileSync(join(FOLDER, folder, 'expect'), 'utf8')) }))
}

function parseExpect(folder: string, text: string): Expect {
  const found: Record<string, string> = {}
  const lists: Record<string, string[]> = {}
  for (const line of text.split('\n')) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const [, key = '', value = ''] = /^(\w+): (.+)$/.exec(line) ?? []
    if (key === '') throw new Error(`${folder}/expect has a line that is no "key: value": ${line}`)
    if (LISTS.has(key)) (lists[key] ??= []).push(value)
    else if (key in found) throw new Error(`${folder}/expect says ${key} twice`)
    else found[key] = value
  }
  const parsed = expectSchema.safeParse({ ...found, ...lists })
  if (!parsed.success) throw new Error(`${folder}/expect: ${z.prettifyError(parsed.error)}`)
  return parsed.data
}

/** The two databases of a case, which go with the stack. */
export async function makeDatabases(
  made: AsyncDisposableStack,
  folder: string,
): Promise<{ source: TestDatabase; target: TestDatabase }> {
  const source = made.use(await createDatabase())
  await run(source, readFileSync(join(FOLDER, folder, 'source.sql'), 'utf8'))
  const sql = readFileSync(join(FOLDER, folder, 'target.sql'), 'utf8')
  const isClone = sql.startsWith(AS_THE_SOURCE)
  const target = made.use(await createDatabase(isClone ? { template: source.name } : {}))
  made.defer(async () => await dropSubscriptions(target))
  await run(target, sql)
  return { source, target }
}

/** Leaves nobody connected, so that the database can be cloned. */
async function run(database: TestDatabase, sql: string): Promise<void> {
  const client = await database.client()
  try {
    for (const part of sql.split(NEXT)) await client.query(part)
  } finally {
    await client.end()
  }
}

/** A database with a subscription cannot be dropped. */
async function dropSubscriptions(database: TestDatabase): Promise<void> {
  const client = await database.client()
  const { rows } = await client.query<{ sql: string }>(
    `select format('drop subscription %I', s.subname) as sql from pg_subscription s
     join pg_database d on d.oid = s.subdbid where d.datname = current_database()`,
  )
  for (const { sql } of rows) await client.query(sql)
  await client.end()
}
