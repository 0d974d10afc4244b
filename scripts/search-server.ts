/** A search server as scripts talk to it: straight, without the agent's own code. */
export interface SearchServer {
  url: string
  apiKey: string
}

/** The real one that tests may use, when the environment names one. */
export function testSearchServer(env: NodeJS.ProcessEnv): SearchServer | undefined {
  const { TYPESENSE_TEST_URL: url, TYPESENSE_TEST_API_KEY: apiKey } = env
  return url && apiKey ? { url: url.replace(/\/+$/, ''), apiKey } : undefined
}

/** One request. Answers the body; throws an Error with the server's own words. */
export async function askSearch(
  { url, apiKey }: SearchServer,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  options: { body?: object; signal?: AbortSignal } = {},
): Promise<unknown> {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { 'x-typesense-api-key': apiKey, 'content-type': 'application/json' },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`The search server answered ${method} ${path} with ${response.status}: ${text}`)
  const answer: unknown = JSON.parse(text)
  return answer
}

/** Removes an alias of our own and every generation that was made for it. */
export async function removeCollections(server: SearchServer, alias: string): Promise<void> {
  const { aliases } = (await askSearch(server, 'GET', '/aliases')) as { aliases: { name: string }[] }
  if (aliases.some(({ name }) => name === alias)) await askSearch(server, 'DELETE', `/aliases/${alias}`)
  const collections = (await askSearch(server, 'GET', '/collections?exclude_fields=fields')) as { name: string }[]
  for (const { name } of collections) {
    if (name.startsWith(`${alias}__`)) await askSearch(server, 'DELETE', `/collections/${name}`)
  }
}
