import type { Problem } from '@multiboard-sync/shared/protocol'
import { SyncError, type SyncErrorCode, type SyncErrorOptions } from '@multiboard-sync/shared/sync-error'

/** What a control plane may say that changes what the agent does. Any other code is `control-plane-refused` here. */
const KNOWN_CODES: ReadonlySet<string> = new Set([
  'unauthorized',
  'forbidden',
  'agent-revoked',
  'enrollment-refused',
  'rate-limited',
  'not-found',
  'agent-unknown',
  'invalid-request',
  'malformed-json',
  'body-too-large',
  'conflict',
  'stale-epoch',
  'fence-superseded',
  'job-finished',
  'event-gap',
  'lease-lost',
] satisfies SyncErrorCode[])

interface ControlPlaneErrorOptions extends SyncErrorOptions {
  retryAfterMs?: number | undefined
  ackAseq?: number | undefined
  status?: number | undefined
}

/** A call to the control plane that did not go well, with what the answer says about the next one. */
export class ControlPlaneError extends SyncError {
  /** From Retry-After: not before that many milliseconds. */
  readonly retryAfterMs: number | undefined
  /** Of an `event-gap`: the last event the control plane has; send again from the next one. */
  readonly ackAseq: number | undefined
  /** HTTP status; undefined when there was no answer. */
  readonly status: number | undefined

  constructor(code: SyncErrorCode, message: string, options: ControlPlaneErrorOptions = {}) {
    super(code, message, options)
    this.retryAfterMs = options.retryAfterMs
    this.ackAseq = options.ackAseq
    this.status = options.status
  }
}

/** No answer, or one that is not our control plane's: a proxy's page says nothing about the job, so it is retryable. */
export function unreachable(what: string, options: ControlPlaneErrorOptions = {}): ControlPlaneError {
  return new ControlPlaneError('control-plane-unreachable', `The control plane cannot be reached: ${what}.`, {
    hint: 'The agent goes on trying. Check CONTROL_PLANE_URL, the network and what stands in front of the control plane.',
    ...options,
    retryable: true,
  })
}

/** A problem+json answer of our control plane as an error. */
export function fromProblem(problem: Problem, status: number, retryAfterMs: number | undefined): ControlPlaneError {
  const isKnown = KNOWN_CODES.has(problem.code)
  const fields = problem.errors?.map(({ field, message }) => printable(`${field}: ${message}`)) ?? []
  return new ControlPlaneError(
    isKnown ? (problem.code as SyncErrorCode) : 'control-plane-refused',
    `The control plane says: ${printable(problem.title)}`,
    {
      hint: printable(problem.hint ?? ''),
      retryable: problem.retryable ?? (status === 429 || status >= 500),
      details: isKnown ? fields : [printable(`code: ${problem.code}`), ...fields],
      ackAseq: problem.ack_aseq,
      retryAfterMs,
      status,
    },
  )
}

/** On one line and without commands to a terminal: whoever answers in the control plane's place writes no text of ours. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
}
