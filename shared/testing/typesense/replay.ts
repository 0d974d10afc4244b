/** Recorded requests of a real server, and what it answered; for whoever holds our server against them. */
export interface Recorded {
  name: string
  request: { method: string; path: string; key: 'admin' | 'limited' | 'nope' | null; body: unknown }
  response: { status: number; contentType: string; body: string }
}

/** What differs from one run to the next, also on the same server. */
const VOLATILE = /"created_at":\d+|"search_time_ms":\d+|"value":"[^"]+"|"(?:system|typesense)_\w+": "[\d.]+"/g

export const withoutVolatile = (body: string) => body.replaceAll(VOLATILE, (found) => found.split(':')[0] ?? found)

/** Sends the requests in order; `limited` is the key that was made last. Answers them beside what they were answered then. */
export async function replay(
  server: { url: string; apiKey: string },
  recorded: readonly Recorded[],
): Promise<{ name: string; was: Recorded['response']; is: Recorded['response'] }[]> {
  let limited = ''
  const answers = []
  for (const { name, request, response } of recorded) {
    const key = request.key === null ? undefined : { admin: server.apiKey, limited, nope: 'nope' }[request.key]
    const body = typeof request.body === 'string' ? request.body : JSON.stringify(request.body)
    const answered = await fetch(`${server.url}${request.path}`, {
      method: request.method,
      headers: key === undefined ? {} : { 'x-typesense-api-key': key },
      ...(request.body !== null && { body }),
    })
    const text = await answered.text()
    if (request.path === '/keys') limited = /"value":"([^"]+)"/.exec(text)?.[1] ?? ''
    const contentType = answered.headers.get('content-type') ?? ''
    answers.push({
      name,
      was: { ...response, body: withoutVolatile(response.body) },
      is: { status: answered.status, contentType, body: withoutVolatile(text) },
    })
  }
  return answers
}
