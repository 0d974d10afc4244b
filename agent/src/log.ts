import type { Level } from '@multiboard-sync/shared/event'
import type { SyncError } from '@multiboard-sync/shared/sync-error'
import { pino, type Logger } from 'pino'

/*
 * The agent's own log: one JSON object a line on stderr, with `level`, `at`, `message` and what else there is. Names, numbers
 * and codes; never URLs, secrets or row values.
 */

const LEVELS = { debug: 20, info: 30, warning: 40, error: 50 } satisfies Record<Level, number>

/** Made when the first line is written: nothing is opened by an import. */
let logger: Logger<Level> | undefined
let level: Level = 'info'

/** What is below this is left out. */
export function setLogLevel(least: Level): void {
  level = least
  if (logger) logger.level = least
}

export function log(at: Exclude<Level, 'debug'>, message: string, data: Record<string, unknown> = {}): void {
  logger ??= openLogger()
  // As one record, so that the message comes first to who reads a line by eye.
  logger[at]({ message, ...data })
}

/** A failed job, with where it failed: names, codes and frames of its causes, but not their texts, which may hold values. */
export function logFailure(job: string, error: SyncError): void {
  const { code, message, hint, details } = error
  log('error', message, { job, code, hint, details, cause: describeCause(error.cause) })
}

/**
 * Through process.stderr, which writes files, pipes and terminals synchronously on Linux: no line is lost when the process ends,
 * and none overtakes what a command says there.
 */
function openLogger(): Logger<Level> {
  const options = {
    level,
    customLevels: LEVELS,
    useOnlyCustomLevels: true,
    base: null,
    messageKey: 'message',
    timestamp: () => `,"at":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  return pino(options, { write: (line) => void process.stderr.write(line) })
}

function describeCause(cause: unknown): string[] {
  if (!(cause instanceof Error)) return cause === undefined ? [] : [typeof cause]
  const code = 'code' in cause && typeof cause.code === 'string' ? ` ${cause.code}` : ''
  const frames = cause.stack?.split('\n').filter((line) => line.startsWith('    at ')) ?? []
  return [`${cause.name}${code}`, ...frames.slice(0, 6).map((line) => line.trim()), ...describeCause(cause.cause)]
}
