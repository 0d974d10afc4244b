import type { Writable } from 'node:stream'

/**
 * Gives on the rows that it is given and writes them into the sink as well; asks for more only when both are done with a
 * chunk, so that the slower one holds back the source and a chunk's memory can be used again. Does not end the sink, and
 * ends with the sink's error.
 */
export async function* teeInto(sink: Writable, rows: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let fail: ((error: Error) => void) | undefined
  // What it was writing then is not called back.
  const onClose = (): void => fail?.(sink.errored ?? new Error('The sink was closed.'))
  sink.once('close', onClose)
  try {
    for await (const chunk of rows) {
      const taken = new Promise<void>((resolve, reject) => {
        fail = reject
        sink.write(chunk, (error) => (error ? reject(error) : resolve()))
      })
      // The other one may end this before it is waited for.
      taken.catch(() => undefined)
      yield chunk
      await taken
    }
  } finally {
    sink.off('close', onClose)
  }
}
