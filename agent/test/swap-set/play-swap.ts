import { quoteIdent, quoteTable } from '../../src/postgres/quote.ts'
import type { Session } from '../../src/postgres/session.ts'
import type { SwapSet } from '../../src/postgres/swap-set/swap-set.ts'
import { oidsOf, type SetOfTest } from './open-set.ts'

/**
 * Plays a swap: the members go to another schema, `again` makes their successors, everything is made again. Answers what
 * still points to the old ones, and what points to the new ones. Rolled back.
 */
export async function play(run: SetOfTest, set: SwapSet, again: string, tables: string[]) {
  const { session } = run
  const old = await oidsOf(session, tables)
  const schema = set.members[0]?.schema ?? ''
  const before = await readTexts(session, schema)
  await session.run('begin')
  const aside = new Map<string, string>()
  try {
    for (const { schema: from } of [...set.members, ...set.statistics]) {
      if (aside.has(from)) continue
      aside.set(from, `old_${aside.size}`)
      await session.run(`create schema ${aside.get(from)}`)
    }
    for (const member of set.members) {
      const kind = { r: 'table', p: 'table', v: 'view', m: 'materialized view' }[member.kind]
      await session.run(`alter ${kind} ${quoteTable(member)} set schema ${aside.get(member.schema)}`)
    }
    for (const { schema: from, name } of set.statistics) {
      await session.run(`alter statistics ${quoteTable({ schema: from, name })} set schema ${aside.get(from)}`)
    }
    await session.run(again)
    for (const { sql } of set.remade) await session.run(sql)
    for (const key of set.keys.filter(({ side }) => side === 'inbound')) {
      await session.run(`alter table ${quoteTable(key.table)} drop constraint ${quoteIdent(key.name)};
        alter table ${quoteTable(key.table)} add constraint ${quoteIdent(key.name)} ${key.head}${quoteTable(key.referenced)}${key.tail}`)
    }
    const left = await run.readOids(old)
    const now = await run.read(...tables)
    return { left, now, before, after: await readTexts(session, schema) }
  } finally {
    await session.run('rollback')
  }
}

/** Views with their options and owners, functions, rules, policies, defaults and comments of a schema. */
async function readTexts(session: Session, schema: string): Promise<string[]> {
  const rows = await session.query<{ text: string }>(
    `select concat_ws(' ', c.oid, c.relname, pg_get_viewdef(c.oid), c.reloptions::text, obj_description(c.oid, 'pg_class')) as text
     from pg_class c where c.relkind = 'v' and c.relnamespace = (select n.oid from pg_namespace n where n.nspname = $1)
     union all select concat_ws(' ', r.oid, pg_get_ruledef(r.oid), r.ev_enabled)
     from pg_rewrite r join pg_class c on c.oid = r.ev_class
     where rulename <> '_RETURN' and c.relnamespace = (select n.oid from pg_namespace n where n.nspname = $1)
     union all select concat_ws(' ', p.oid, polname, polcmd, polpermissive, polroles::text, pg_get_expr(polqual, polrelid),
       'check', pg_get_expr(polwithcheck, polrelid))
     from pg_policy p join pg_class c on c.oid = p.polrelid where c.relnamespace = (select n.oid from pg_namespace n where n.nspname = $1)
     union all select concat_ws(' ', d.adrelid::regclass, adnum, pg_get_expr(adbin, adrelid))
     from pg_attrdef d join pg_class c on c.oid = d.adrelid where c.relnamespace = (select n.oid from pg_namespace n where n.nspname = $1)
     union all select concat_ws(' ', t.oid, pg_get_expr(typdefaultbin, 0)) from pg_type t
     where t.typdefaultbin is not null and t.typnamespace = (select n.oid from pg_namespace n where n.nspname = $1)
     union all select concat_ws(' ', p.oid, pg_get_functiondef(p.oid), p.proacl::text)
     from pg_proc p where p.pronamespace = (select n.oid from pg_namespace n where n.nspname = $1)
     order by 1`,
    [schema],
  )
  return rows.map(({ text }) => text)
}
