import { expect, inject, test } from 'vitest'
import { findingsOf, membersOf, openSet, remadeOf } from './swap-set/open-set.ts'

const { major } = inject('postgres')

test('A table has its own keys, statistics and parts in the set, and nothing of its neighbours', async () => {
  await using run = await openSet(`
    create table public.o (id int primary key);
    create table public.a (id serial primary key, o_id int references o, self int references a, x text unique);
    create table public.k (id int primary key, a_id int references a on delete cascade);
    create index on public.a (lower(x));
    create statistics public.st on id, o_id from public.a;
    create view public.v as select id, x from a;`)
  const set = await run.read('public.a')
  expect(membersOf(set)).toEqual(['public.a r 0'])
  expect(set.keys.map(({ side, name }) => `${side} ${name}`)).toEqual([
    'outbound a_o_id_fkey',
    'inner a_self_fkey',
    'inbound k_a_id_fkey',
  ])
  expect(set.statistics.map(({ name }) => name)).toEqual(['st'])
  expect(remadeOf(set)).toEqual(['view public.v'])
  expect(findingsOf(set)).toEqual([])
  expect(major).toBeGreaterThan(12)
})
