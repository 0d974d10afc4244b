import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { z } from 'zod'
import { unreachable } from './control-plane-error.ts'
import { readAnswer, type Answer } from './read-answer.ts'

interface PostOptions {
  /** Absent where nobody is known yet: enrolment. */
  authorization?: string
  version: string
  timeoutMs: number
  signal: AbortSignal
}

/** One request to the control plane, and its answer if it is the control plane's. Rejects with ControlPlaneError, or with the signal's reason. */
export async function postJson<T>(
  url: URL,
  text: string,
  schema: z.ZodType<T>,
  { authorization, version, timeoutMs, signal }: PostOptions,
): Promise<Answer<T>> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        ...(authorization === undefined ? {} : { authorization }),
        accept: 'application/json, application/problem+json',
        'content-type': 'application/json',
        'user-agent': `multiboard-sync-agent/${version}`,
      },
      body: text,
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    })
    return await readAnswer(response, schema)
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof SyncError) throw error
    const isLate = error instanceof Error && error.name === 'TimeoutError'
    throw unreachable(isLate ? `no answer within ${timeoutMs / 1000} s` : 'the connection failed', { cause: error })
  }
}
