import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { z } from 'zod'
import { AnswerError, garbled } from './search-error.ts'

/** Waits for a request of the client and reads its answer. Throws SyncError, or the signal's reason. */
export type Ask = <T>(doing: string, request: Promise<unknown>, read: (answer: unknown) => T) => Promise<T>

export function asking(signal: AbortSignal): Ask {
  return async (doing, request, read) => {
    let answer: unknown
    try {
      answer = await request
    } catch (error) {
      signal.throwIfAborted()
      // What is not of our wire is the client's: it could not parse the answer.
      throw error instanceof SyncError ? error : garbled(doing, error)
    }
    try {
      return read(answer)
    } catch (error) {
      throw garbled(doing, error)
    }
  }
}

export function parser<T>(schema: z.ZodType<T>): (answer: unknown) => T {
  return (answer) => schema.parse(answer)
}

export function parseText<T>(text: string, schema: z.ZodType<T>, doing: string): T {
  try {
    return schema.parse(JSON.parse(text))
  } catch (error) {
    throw garbled(doing, error)
  }
}

/** Undefined where the answer is one of these statuses. */
export async function orUndefined<T>(request: Promise<T>, statuses = [404]): Promise<T | undefined> {
  try {
    return await request
  } catch (error) {
    if (error instanceof AnswerError && statuses.includes(error.status)) return undefined
    throw error
  }
}

/** Something else works on this search server, or did. */
export function changed(message: string): SyncError {
  return new SyncError('search-changed', message, {
    hint: 'Something else works on this search server. Look at its collections and aliases.',
  })
}
