import type { SyncError } from '@multiboard-sync/shared/sync-error'

/** The agent's own log: one JSON object a line on stderr. Names, numbers and codes; never URLs, secrets or row values. */
export function log(level: 'info' | 'warning' | 'error', message: string, data: Record<string, unknown> = {}): void {
  process.stderr.write(`${JSON.stringify({ at: new Date().toISOString(), level, message, ...data })}\n`)
}

/** A failed job, with where it failed: names, codes and frames of its causes, but not their texts, which may hold values. */
export function logFailure(job: string, error: SyncError): void {
  const { code, message, hint, details } = error
  log('error', message, { job, code, hint, details, cause: describeCause(error.cause) })
}

function describeCause(cause: unknown): string[] {
  if (!(cause instanceof Error)) return cause === undefined ? [] : [typeof cause]
  const code = 'code' in cause && typeof cause.code === 'string' ? ` ${cause.code}` : ''
  const frames = cause.stack?.split('\n').filter((line) => line.startsWith('    at ')) ?? []
  return [`${cause.name}${code}`, ...frames.slice(0, 6).map((line) => line.trim()), ...describeCause(cause.cause)]
}
