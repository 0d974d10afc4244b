import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { addBelongings, addExtras } from './belongings.ts'
import type { Blueprint } from './blueprint.ts'
import { makePlace } from './make-place.ts'

interface MadeDatabases {
  /** Each statement runs in a transaction of its own. */
  source: string[]
  target: string[]
  /** What the job asks for; undefined for everything. */
  tables: string[] | undefined
}

/** Pure: the same blueprint, the same SQL. */
export function makeDatabases(blueprint: Blueprint, major: number): MadeDatabases {
  const sides = ([0, 1] as const).map((salt) => {
    const place = makePlace(blueprint, major, salt)
    addBelongings(place, blueprint.belongings)
    if (salt === 1) addExtras(place, blueprint.extras)
    return place
  })
  const [source = [], target = []] = sides.map(({ first, data, later, last }) => [...first, ...data, ...later, ...last])
  const made = sides[0]?.tables ?? []
  const chosen = made.filter(({ outside }) => !outside)
  const isAll = chosen.length === made.length || chosen.length === 0
  return { source, target, tables: isAll ? undefined : chosen.flatMap(({ asked }) => asked.map(formatTableName)) }
}
