/**
 * A response that pulls frames from `make` as the client reads them: a slow reader slows the source. When the client
 * leaves, the signal given to `make` aborts at once. What `make` throws goes to `onError` and ends the stream without a
 * word to the client, which then reconnects.
 */
export function sseResponse(
  make: (signal: AbortSignal) => AsyncGenerator<string, void>,
  endedBy: AbortSignal[],
  onError: (error: unknown) => void,
): Response {
  const gone = new AbortController()
  const frames = make(AbortSignal.any([gone.signal, ...endedBy]))
  const encoder = new TextEncoder()
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await frames.next()
          if (gone.signal.aborted) return
          if (done) controller.close()
          else controller.enqueue(encoder.encode(value))
        } catch (error) {
          onError(error)
          if (!gone.signal.aborted) controller.close()
        }
      },
      cancel() {
        gone.abort()
      },
    },
    { highWaterMark: 0 },
  )
  return new Response(body, {
    headers: {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    },
  })
}
