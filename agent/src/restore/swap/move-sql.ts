import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { quoteIdent, quoteLiteral, quoteTable } from '../../postgres/quote.ts'
import type { Member, SetKey, SwapSet } from '../../postgres/swap-set/swap-set.ts'
import { inAside, type Aside } from '../stage/aside.ts'

/*
 * The texts of a swap, made before any lock is taken: a round trip while readers wait is paid by the readers.
 */

const ALTER: Record<Member['kind'], string> = {
  r: 'alter table',
  p: 'alter table',
  v: 'alter view',
  m: 'alter materialized view',
}

/**
 * One message of many statements, after which the incoming relations stand under the names of the live ones, those stand
 * in `previous`, and what pointed to the live ones points to the incoming ones. Foreign keys from outside come back NOT
 * VALID where nothing but that keeps the server from reading rows while others wait; those to outside stand already.
 */
export function moveSql(set: SwapSet, incoming: Aside, previous: Aside): string {
  const inbound = set.keys.filter(({ side }) => side === 'inbound')
  return [
    ...set.keys.filter(({ side }) => side !== 'inner').map(dropKey),
    ...moves(set, (name) => name, previous),
    ...moves(set, (name) => inAside(incoming, name), undefined),
    ...set.remade.map(({ sql }) => sql),
    ...inbound.flatMap((key) => addKey(key, key.table, key.referenced, needsValidation(key) ? ' not valid' : '')),
  ].join(';\n')
}

/** The incoming tables' keys to tables outside, whole and checked: the tables are nobody's yet, so nobody waits. */
export function outboundKeysSql(set: SwapSet, incoming: Aside): { key: SetKey; sql: string }[] {
  return set.keys
    .filter(({ side }) => side === 'outbound')
    .map((key) => ({ key, sql: addKey(key, inAside(incoming, key.table), key.referenced, '').join(';\n') }))
}

/** True for a key whose rows were proven beforehand and that the server shall prove again after the swap. */
export function needsValidation(key: SetKey): boolean {
  return key.side === 'inbound' && key.validated && key.enforced && !key.hasPeriod
}

/** Raises a sequence to a value, in the transaction: setval() alone would outlive its rollback. Never lowers it. */
export function raiseSql(sequence: TableName & { owner: string }, value: bigint, isCalled: boolean): string {
  const name = quoteTable(sequence)
  const regclass = `${quoteLiteral(name)}::pg_catalog.regclass`
  const body = `declare was record; is_behind boolean; begin
  -- Changes nothing and takes the lock, so that the value read next stays what it is.
  alter sequence ${name} owner to ${quoteIdent(sequence.owner)};
  select last_value, is_called into was from ${name};
  select case when seqincrement > 0 then was.last_value < ${value} else was.last_value > ${value} end
         or (was.last_value = ${value} and ${isCalled} and not was.is_called)
    into is_behind from pg_catalog.pg_sequence where seqrelid = ${regclass};
  if is_behind then
    alter sequence ${name} restart;
    perform pg_catalog.setval(${regclass}, ${value}, ${isCalled});
  end if;
end`
  return `do ${quoteLiteral(body)}`
}

function moves(set: SwapSet, where: (name: TableName) => TableName, to: Aside | undefined): string[] {
  const target = (name: TableName): string => quoteIdent(to === undefined ? name.schema : inAside(to, name).schema)
  return [
    ...set.members.map((member) => `${ALTER[member.kind]} ${quoteTable(where(member))} set schema ${target(member)}`),
    ...set.statistics.map((one) => `alter statistics ${quoteTable(where(one))} set schema ${target(one)}`),
  ]
}

function dropKey(key: SetKey): string {
  return `alter table ${quoteTable(key.table)} drop constraint ${quoteIdent(key.name)} restrict`
}

function addKey(key: SetKey, table: TableName, referenced: TableName, suffix: string): string[] {
  const [on, name] = [quoteTable(table), quoteIdent(key.name)]
  return [
    `alter table ${on} add constraint ${name} ${key.head}${quoteTable(referenced)}${key.makeTail}${suffix}`,
    ...(key.comment === null ? [] : [`comment on constraint ${name} on ${on} is ${quoteLiteral(key.comment)}`]),
  ]
}
