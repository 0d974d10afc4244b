import type { IncomingMessage } from 'node:http'
import { Transform } from 'node:stream'

/** A limit of ours was reached; `code` says which one, as an error of the network would. */
export class LimitError extends Error {
  readonly code: string

  constructor(code: string) {
    super(`A limit of ours was reached (${code}).`)
    this.code = code
  }
}

export function createTimer(onTime: (what: string) => void) {
  let timer: NodeJS.Timeout | undefined
  return {
    start(ms: number, what: string): void {
      clearTimeout(timer)
      timer = setTimeout(onTime, ms, what)
    },
    stop: (): void => clearTimeout(timer),
  }
}

/** Ends a stream on which nothing comes, though somebody waits for it. */
export function createGuard(idleMs: number, mapError: (error: Error) => Error): Transform {
  const timer = createTimer((what) => {
    const isOurTurn = guard.readableLength >= guard.readableHighWaterMark
    if (isOurTurn) timer.start(idleMs, what)
    else guard.destroy(new LimitError(what))
  })
  const guard = new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      timer.start(idleMs, 'RECEIVE_TIMEOUT')
      callback(null, chunk)
    },
    flush(callback) {
      timer.stop()
      callback()
    },
    destroy(error, callback) {
      timer.stop()
      callback(error ? mapError(error) : null)
    },
  })
  guard.on('drain', () => timer.start(idleMs, 'RECEIVE_TIMEOUT'))
  timer.start(idleMs, 'RECEIVE_TIMEOUT')
  return guard
}

interface ReadLimits {
  maxBytes: number
  /** What is larger is cut there, or else refused. */
  isCut: boolean
  idleMs: number
}

/** Ends the response when it is too large, or nothing comes for too long. */
export async function readText(response: IncomingMessage, { maxBytes, isCut, idleMs }: ReadLimits): Promise<string> {
  const timer = createTimer((what) => response.destroy(new LimitError(what)))
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    timer.start(idleMs, 'RECEIVE_TIMEOUT')
    for await (const chunk of response as AsyncIterable<Buffer>) {
      timer.start(idleMs, 'RECEIVE_TIMEOUT')
      bytes += chunk.length
      if (bytes > maxBytes) {
        if (isCut) break
        throw new LimitError('ANSWER_TOO_LARGE')
      }
      chunks.push(chunk)
    }
  } finally {
    timer.stop()
  }
  return Buffer.concat(chunks).toString('utf8')
}
