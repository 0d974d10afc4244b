import { quoteIdent, quoteLiteral, quoteTable } from '../../postgres/quote.ts'
import type { SetKey } from '../../postgres/swap-set/swap-set.ts'
import { inAside, type Aside } from './aside.ts'

/**
 * Two steps, so that the rows of several tables are checked at once. The server does not take all keys in two, and of one
 * that refers to a partitioned table 13 would leave those to its partitions not valid.
 */
export function isInTwoSteps(key: SetKey, toPartitioned: boolean): boolean {
  return key.validated && key.enforced && key.tableKind === 'r' && !key.hasPeriod && !toPartitioned
}

export function addKeySql(key: SetKey, stage: Aside, isValidatedLater: boolean): string {
  const [on, name] = [quoteTable(inAside(stage, key.table)), quoteIdent(key.name)]
  const definition = `${key.head}${quoteTable(inAside(stage, key.referenced))}${key.makeTail}`
  return [
    `alter table ${on} add constraint ${name} ${definition}${isValidatedLater ? ' not valid' : ''}`,
    ...(key.comment === null ? [] : [`comment on constraint ${name} on ${on} is ${quoteLiteral(key.comment)}`]),
  ].join(';\n')
}

export function validateKeySql(key: SetKey, stage: Aside): string {
  return `alter table ${quoteTable(inAside(stage, key.table))} validate constraint ${quoteIdent(key.name)}`
}
