import { fromPgError } from './pg-error.ts'
import type { Session } from './session.ts'

/**
 * Several statements in one message, and the rows of each: where others wait, every round trip is one too many. Throws as
 * `session.run` does; when the session's signal was aborted, as for a lost connection.
 */
async function queryAll(session: Session, statements: string[]): Promise<object[][]> {
  try {
    const answer: unknown = await session.client.query(statements.join(';\n'))
    return (Array.isArray(answer) ? answer : [answer]).map((one: { rows: object[] }) => one.rows)
  } catch (error) {
    throw fromPgError(error, `working in the database ${session.database}`)
  }
}

/** Several statements in one message, and the rows of the last one. Throws as `session.run` does. */
export async function queryTogether<Row extends object>(session: Session, statements: string[]): Promise<Row[]> {
  return ((await queryAll(session, statements)).at(-1) ?? []) as Row[]
}

/** A query that was planned beforehand, to be sent alone or together with others. */
export interface PreparedRead<T> {
  /** Its statements; `take` is given the rows of the last one. Each is one statement. */
  readonly statements: string[]
  readonly take: (rows: object[]) => T
  readonly read: () => Promise<T>
}

export function preparedRead<T>(session: Session, statements: string[], take: (rows: object[]) => T): PreparedRead<T> {
  return { statements, take, read: async () => take(await queryTogether(session, statements)) }
}

/** All of them in one message, after the statements that may stand before them. */
export async function readTogether<T extends unknown[]>(
  session: Session,
  before: string[],
  reads: { [K in keyof T]: PreparedRead<T[K]> },
): Promise<T> {
  const results = await queryAll(session, [...before, ...reads.flatMap(({ statements }) => statements)])
  // Counted from the end: what stands before may be many statements in one text.
  let at = results.length - reads.reduce((sum, { statements }) => sum + statements.length, 0)
  return reads.map(({ statements, take }) => {
    at += statements.length
    return take(results[at - 1] ?? [])
  }) as T
}
