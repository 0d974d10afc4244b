import type { Level } from '@multiboard-sync/shared/event'
import pg from 'pg'
import { pino } from 'pino'

type Value = string | number | boolean | undefined

/** Writes one record, of level info where it names none. Records hold names, numbers and codes: no secret, no URL, no row value. */
export type Log = (record: Readonly<Record<string, Value>>) => void

const LEVELS = { debug: 20, info: 30, warning: 40, error: 50 } satisfies Record<Level, number>

/**
 * One line of JSON on stderr for each record, with its level and its time; what is below `least` is left out. Written through
 * process.stderr, which is synchronous on Linux: no line is lost when the process ends, and no thread is needed for it.
 */
export function openLog(least: Level = 'info'): Log {
  const options = {
    level: least,
    customLevels: LEVELS,
    useOnlyCustomLevels: true,
    base: null,
    timestamp: () => `,"at":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  const logger = pino<Level>(options, { write: (line) => void process.stderr.write(line) })
  return ({ level = 'info', ...record }) => logger[isLevel(level) ? level : 'error'](record)
}

function isLevel(level: Value): level is Level {
  return typeof level === 'string' && Object.hasOwn(LEVELS, level)
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
