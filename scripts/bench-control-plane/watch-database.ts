import type { Database, Queries } from '../../control-plane/src/store/open-database.ts'

/** A statement on its way to PostgreSQL. */
export interface Statement {
  sql: string
  values: readonly unknown[]
}

/** The same database, telling of every statement. A transaction tells of its begin and commit, too. */
export function watchDatabase(database: Database, seen: (statement: Statement) => void): Database {
  const watch = (queries: Queries): Queries => ({
    query: async (sql, values = []) => {
      seen({ sql, values })
      return await queries.query(sql, values)
    },
  })
  return {
    ...watch(database),
    transaction: async (work) => {
      seen({ sql: 'begin', values: [] })
      const result = await database.transaction(async (transaction) => await work(watch(transaction)))
      seen({ sql: 'commit', values: [] })
      return result
    },
    [Symbol.asyncDispose]: async () => await database[Symbol.asyncDispose](),
  }
}
