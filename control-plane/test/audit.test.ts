import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { auditHash, NOTHING_BEFORE } from '../src/audit/append-audit.ts'
import type { AuditVerdict } from '../src/audit/verify-audit.ts'
import { startSurroundings, type Agent, type Surroundings } from './surroundings.ts'

interface Entry {
  n: number
  actor: string
  action: string
  object: string
  detail: Record<string, unknown>
}

let here: Surroundings
let agent: Agent
beforeAll(async () => {
  here = await startSurroundings()
  agent = await here.registerAgent('vps')
  // Some entries to begin with, of an agent that never takes its jobs.
  await here.registerAgent('other')
  for (let n = 0; n < 12; n += 1) await here.ask({ ...unused, agent: 'other' })
})
afterAll(async () => await here[Symbol.asyncDispose]())

const unused = { kind: 'export', source: 'production' }
const sync = { kind: 'sync', source: 'production', target: 'staging', agent: 'vps' }

async function entriesOf(query = ''): Promise<Entry[]> {
  const { body, status } = await here.person('GET', `/v1/audit?limit=100${query}`)
  expect(status).toBe(200)
  return (body as unknown as { entries: Entry[] }).entries
}

async function verify(query = ''): Promise<AuditVerdict> {
  return (await here.person('GET', `/v1/audit/verify${query}`)).body as unknown as AuditVerdict
}

async function sql(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = await here.database.client()
  try {
    return (await client.query<Record<string, unknown>>(text, values)).rows
  } finally {
    await client.end()
  }
}

const good = { ok: true, broken_at: null, reason: null }

test('G21: the audit says who asked, what was signed, what ran and what it changed', async () => {
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  expect((await agent.complete(order)).status).toBe(200)
  const told = (await entriesOf(`&object=job:${id}`)).toReversed()
  expect(told.map(({ action, actor }) => [action, actor])).toEqual([
    ['job.asked', 'admin'],
    ['order.signed', 'control'],
    ['job.accepted', 'agent:vps'],
    ['job.ended', 'agent:vps'],
  ])
  expect(told.map(({ detail }) => detail)).toMatchObject([
    { agent: 'vps', kind: 'sync', source: 'production', target: 'staging' },
    // By its jti the agent's journal knows the same order.
    { agent: 'vps', epoch: 1, fence: order.job.fence, jti: order.jti, kid: here.control.kid },
    { epoch: 1 },
    { state: 'succeeded', target_state: 'changed', code: null, epoch: 1 },
  ])
})

test('G21: refusals, cancels, lost leases and orders that nobody took are told too', async () => {
  const refused = await here.ask(sync)
  const order = await agent.claim()
  if (!order) throw new Error('no order was waiting')
  const verdict = { epoch: order.job.epoch, verdict: 'refused', code: 'policy-changed', message: 'No.' }
  expect((await agent.call(`/v1/agent/jobs/${refused.id}/accept`, verdict)).status).toBe(200)
  const canceled = await here.ask(sync)
  await here.person('POST', `/v1/jobs/${canceled.id}/cancel`)
  const lost = await here.ask(sync)
  const begun = await agent.begin()
  await here.letLapse(lost.id)
  const expired = await here.ask({ ...unused, agent: 'vps' })
  await sql("update multiboard.jobs set start_before = now() - interval '1 second' where id = $1", [expired.id])
  await agent.poll()
  const ofJob = async (id: string) =>
    (await entriesOf(`&object=job:${id}`)).map(({ action, detail }) => [action, detail])
  expect((await ofJob(refused.id))[0]).toEqual(['job.refused', { epoch: 1, code: 'policy-changed' }])
  expect(await ofJob(canceled.id)).toMatchObject([
    ['job.ended', { state: 'canceled', target_state: 'untouched' }],
    ['job.canceled', {}],
    ['job.asked', {}],
  ])
  expect((await ofJob(lost.id))[0]).toMatchObject(['job.lost', { state: 'lost' }])
  expect((await ofJob(expired.id))[0]).toMatchObject(['job.ended', { state: 'expired' }])
  expect((await agent.report(begun)).status).toBe(200)
  expect((await ofJob(lost.id))[0]).toEqual(['job.revived', { epoch: 1 }])
  expect(await verify()).toMatchObject(good)
})

test('what is not done is not told: of a transaction that fails the audit has nothing', async () => {
  const before = (await verify()).entries
  expect((await here.person('POST', '/v1/jobs', { ...sync, target: 'nowhere' })).status).toBe(422)
  expect((await verify()).entries).toBe(before)
})

test('entries that are written at once stand one after the other, without a gap', async () => {
  await Promise.all(Array.from({ length: 20 }, async () => await here.ask(unused)))
  const verdict = await verify()
  expect(verdict).toMatchObject(good)
  const [counted] = await sql('select count(*)::int as rows, max(n)::int as last from multiboard.audit')
  expect(counted).toEqual({ rows: verdict.entries, last: verdict.entries })
})

test('the audit is read in pages, newest first', async () => {
  const all = await entriesOf()
  const seen: number[] = []
  let cursor = ''
  do {
    const { body, headers } = await here.person('GET', `/v1/audit?limit=7${cursor && `&cursor=${cursor}`}`)
    const page = body as unknown as { entries: Entry[]; next: string | null }
    seen.push(...page.entries.map(({ n }) => n))
    expect(headers.has('link')).toBe(page.next !== null)
    cursor = page.next ?? ''
  } while (cursor !== '')
  expect(seen.slice(0, all.length)).toEqual(all.map(({ n }) => n))
  expect(seen).toEqual(Array.from(seen.keys(), (index) => seen.length - index))
})

test('T21: the database refuses to change the audit, whoever asks', async () => {
  const tries = [
    "update multiboard.audit set actor = 'nobody'",
    'delete from multiboard.audit where n = 1',
    'truncate multiboard.audit',
    "insert into multiboard.audit select * from multiboard.audit on conflict (n) do update set actor = 'nobody'",
  ]
  for (const text of tries) await expect(sql(text), text).rejects.toThrow('the audit is append-only')
})

test('T21: whoever owns the database and changes, takes out, puts in or moves an entry is found, at that entry', async () => {
  const last = (await verify()).entries
  const n = 9
  const other = randomBytes(32)
  const tampered: [string, string, unknown[], Partial<AuditVerdict>][] = [
    ['actor', "update multiboard.audit set actor = 'eve' where n = $1", [n], { broken_at: n, reason: 'changed' }],
    ['action', "update multiboard.audit set action = 'x' where n = $1", [n], { broken_at: n, reason: 'changed' }],
    ['object', "update multiboard.audit set object = 'x' where n = $1", [n], { broken_at: n, reason: 'changed' }],
    [
      'time',
      "update multiboard.audit set at = at - interval '1 ms' where n = $1",
      [n],
      { broken_at: n, reason: 'changed' },
    ],
    [
      'detail',
      `update multiboard.audit set detail = detail || '{"x":1}' where n = $1`,
      [n],
      { broken_at: n, reason: 'changed' },
    ],
    ['hash', 'update multiboard.audit set hash = $2 where n = $1', [n, other], { broken_at: n, reason: 'changed' }],
    ['link', 'update multiboard.audit set prev_hash = $2 where n = $1', [n, other], { broken_at: n, reason: 'moved' }],
    ['first', 'delete from multiboard.audit where n = 1', [], { broken_at: 1, reason: 'missing' }],
    ['one', 'delete from multiboard.audit where n = $1', [n], { broken_at: n, reason: 'missing' }],
    ['begin', 'delete from multiboard.audit where n <= $1', [n], { broken_at: 1, reason: 'missing' }],
    [
      'one, and the others close the gap',
      'with gone as (delete from multiboard.audit where n = $1) update multiboard.audit set n = n - 1 where n > $1',
      [n],
      { broken_at: n, reason: 'moved' },
    ],
    [
      'two change places',
      'update multiboard.audit set n = 2 * $1::bigint + 1 - n where n in ($1::bigint, $1::bigint + 1)',
      [n],
      { broken_at: n, reason: 'moved' },
    ],
    [
      'one is put in',
      `with moved as (update multiboard.audit set n = n + 1 where n >= $1)
       insert into multiboard.audit select * from multiboard.audit where n = $1`,
      [n],
      { broken_at: n + 1, reason: 'moved' },
    ],
  ]
  for (const [what, text, values, expected] of tampered) {
    await tamper(text, values, async () => {
      expect(await verify(), what).toMatchObject({ ok: false, ...expected })
    })
  }
  expect(await verify()).toMatchObject({ ...good, entries: last })
})

test('T21: an end that is cut off is found by the jobs, whose entries are then missing', async () => {
  const { entries, head } = await verify()
  const { id } = await here.ask(unused)
  await tamper('delete from multiboard.audit where n > $1', [entries], async () => {
    expect(await verify()).toEqual({
      ok: false,
      entries,
      head,
      broken_at: entries + 1,
      reason: 'missing',
      object: `job:${id}`,
    })
  })
})

test('T21: with a head that was noted elsewhere a cut end and an audit written anew are found for certain', async () => {
  const { head, entries } = await verify()
  if (!head) throw new Error('there is no head')
  const noted = `?n=${head.n}&hash=${head.hash}`
  await here.ask(unused)
  expect(await verify(noted)).toMatchObject(good)

  // The jobs made to fit: only who has noted the head can know.
  const cut = 'delete from multiboard.audit where n > $1'
  const fit = "update multiboard.jobs set created_at = '2020-01-01'"
  await tamper(`with gone as (${cut}) ${fit}`, [entries - 3], async () => {
    expect(await verify()).toMatchObject({ ...good, entries: entries - 3 })
    expect(await verify(noted)).toMatchObject({ ok: false, broken_at: entries - 2, reason: 'missing' })
  })
  await tamper(...(await writtenAnew()), async () => {
    expect(await verify()).toMatchObject(good)
    expect(await verify(noted)).toMatchObject({ ok: false, broken_at: head.n, reason: 'changed' })
  })
  for (const half of ['?n=1', `?hash=${head.hash}`])
    expect((await here.person('GET', `/v1/audit/verify${half}`)).status).toBe(422)
})

/** A chain that fits in itself, in which the first entry has another actor. */
async function writtenAnew(): Promise<[string, unknown[]]> {
  const rows = await sql('select n::int, at, actor, action, object, detail from multiboard.audit order by n')
  let before: Buffer = NOTHING_BEFORE
  const written = (rows as unknown as (Entry & { at: Date })[]).map(({ at, ...entry }, index) => {
    const actor = index === 0 ? 'eve' : entry.actor
    const detail = entry.detail as Record<string, string>
    const hash = auditHash(before, { ...entry, detail, actor, at: at.toISOString() })
    const row = { n: entry.n, actor, prev: before.toString('hex'), hash: hash.toString('hex') }
    before = hash
    return row
  })
  const text = `
    update multiboard.audit set actor = w.actor, prev_hash = decode(w.prev, 'hex'), hash = decode(w.hash, 'hex')
    from jsonb_to_recordset($1::jsonb) as w (n bigint, actor text, prev text, hash text) where audit.n = w.n`
  return [text, [JSON.stringify(written)]]
}

/** Does to the tables what only their owner can do, looks, and puts everything back. */
async function tamper(text: string, values: unknown[], look: () => Promise<void>): Promise<void> {
  await sql('create table public.kept_audit as table multiboard.audit')
  await sql('create table public.kept_jobs as select id, created_at from multiboard.jobs')
  await sql('alter table multiboard.audit drop constraint audit_pkey, disable trigger all')
  try {
    await sql(text, values)
    await look()
  } finally {
    await sql(`delete from multiboard.audit; insert into multiboard.audit table public.kept_audit;
      update multiboard.jobs set created_at = kept.created_at from public.kept_jobs kept where kept.id = jobs.id;
      alter table multiboard.audit add primary key (n), enable trigger all; drop table public.kept_audit, public.kept_jobs`)
  }
}
