import { SyncError } from '@multiboard-sync/shared/sync-error'

/** What to throw once the signal is aborted: its own reason where that is one of ours. */
export function canceled(signal: AbortSignal): SyncError {
  if (signal.reason instanceof SyncError) return signal.reason
  return new SyncError('canceled', 'The work was stopped before it was done.', { cause: signal.reason })
}
