import { SyncError } from '@multiboard-sync/shared/sync-error'

/** Everything that was found, as one refusal. A finding has the form `components: what is wrong (what to do)`. */
export function notReady(findings: string[], retryable = false): SyncError {
  return new SyncError('search-not-ready', 'The search index cannot follow this job.', {
    hint: 'Do what the findings say, or leave the search as it is with --no-reindex. docs/TYPESENSE.md tells more of each.',
    details: findings,
    retryable,
  })
}

/** The server cannot be asked at all: the one finding. Retryable when what was thrown is. */
export function closed(error: SyncError): SyncError {
  return notReady([findingOf('search server', error)], error.retryable)
}

/** True for errors which say that nothing can be learned of the server. */
export function isClosed(error: unknown): error is SyncError {
  return (
    error instanceof SyncError &&
    ['search-unreachable', 'search-auth', 'search-failed', 'search-full'].includes(error.code)
  )
}

/** A thrown error in the form of a finding. */
export function findingOf(who: string, error: SyncError): string {
  const text = sentenceOf(error)
  return `${who}: ${text.startsWith(`the ${who} `) ? text.slice(who.length + 5) : text}`
}

/** What is wrong, and what to do in brackets. */
export function sentenceOf({ message, hint }: SyncError): string {
  const advice = hint === '' ? '' : ` (${uncapitalised(hint)})`
  return `${uncapitalised(message)}${advice}`
}

/** As part of a longer one. Names of settings and programs keep their capitals. */
export function uncapitalised(text: string): string {
  const isWord = /^[A-Z][a-z]* /.test(text) && !/^(Typesense|PostgreSQL) /.test(text)
  return (isWord ? `${text[0]?.toLowerCase()}${text.slice(1)}` : text).replace(/\.$/, '')
}
