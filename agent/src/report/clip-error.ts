import { DETAILS_MAX, TEXT_MAX } from '@multiboard-sync/shared/protocol'
import type { SyncError } from '@multiboard-sync/shared/sync-error'

/** Of a redacted text a little more may come: what hides a secret can be longer than it. */
const TEXT_KEPT = TEXT_MAX - 100

/** An error as it may be told: a job that failed for a thousand reasons has an end like any other. */
export function clipError({
  code,
  message,
  hint,
  details,
}: SyncError): Pick<SyncError, 'code' | 'message' | 'hint' | 'details'> {
  const kept = details.length > DETAILS_MAX ? details.slice(0, DETAILS_MAX - 1) : details
  const more = details.length - kept.length
  return {
    code,
    message: clipText(message),
    hint: clipText(hint),
    details: [...kept.map(clipText), ...(more > 0 ? [`and ${more} more`] : [])],
  }
}

/** Never half a character: the control plane's database refuses one. */
function clipText(text: string): string {
  return (text.length <= TEXT_KEPT ? text : `${text.slice(0, TEXT_KEPT - 1)}…`).toWellFormed()
}
