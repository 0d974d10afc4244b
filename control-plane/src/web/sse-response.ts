export interface SseSource {
  /** Frames, ready to be written. The signal aborts when the client has left. */
  make: (signal: AbortSignal) => AsyncGenerator<string, void>
  endedBy: AbortSignal[]
  /** Once, however the stream ends. */
  onEnd: () => Promise<void>
  onError: (error: unknown) => void
}

/**
 * A response that pulls frames from `make` as the client reads them: a slow reader slows the source. When the client
 * leaves, the signal given to `make` aborts at once. What `make` or `onEnd` throws goes to `onError` and ends the stream
 * without a word to the client, which then reconnects.
 */
export function sseResponse({ make, endedBy, onEnd, onError }: SseSource): Response {
  const gone = new AbortController()
  const frames = make(AbortSignal.any([gone.signal, ...endedBy]))
  const encoder = new TextEncoder()
  let ended: Promise<void> | undefined
  const end = async (): Promise<void> => {
    ended ??= onEnd().catch(onError)
    await ended
  }
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await frames.next()
          if (gone.signal.aborted) return
          if (!done) return controller.enqueue(encoder.encode(value))
        } catch (error) {
          onError(error)
        }
        await end()
        if (!gone.signal.aborted) controller.close()
      },
      async cancel() {
        gone.abort()
        await end()
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
