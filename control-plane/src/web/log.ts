import pg from 'pg'

/** Writes one record. Records hold names, numbers and codes: no secret, no URL, no row value. */
export type Log = (record: Readonly<Record<string, string | number | boolean | undefined>>) => void

/** One line of JSON on stderr. */
export const logToStderr: Log = (record) => {
  process.stderr.write(`${JSON.stringify({ at: new Date().toISOString(), ...record })}\n`)
}

/** What may be written of an unexpected error. PostgreSQL's messages and details can hold values: code and names only. */
export function describeError(error: unknown): Record<string, string | undefined> {
  if (error instanceof pg.DatabaseError) {
    const { code, table, constraint, routine } = error
    return { error: 'DatabaseError', code, table, constraint, routine }
  }
  if (!(error instanceof Error)) return { error: typeof error }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  const frames = error.stack?.split('\n').filter((line) => line.startsWith('    at '))
  return {
    error: error.name,
    code,
    stack: frames
      ?.slice(0, 8)
      .map((line) => line.trim())
      .join(' | '),
  }
}
