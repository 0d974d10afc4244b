import { readFileSync, statSync } from 'node:fs'
import { mistakeOf, readFileVariables, type Variables } from '@multiboard-sync/shared/file-variables'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { z } from 'zod'
import { agentEnvSchema } from './env-schema.ts'

/** The agent's environment, as names and values; nothing here is ever printed. */
export type AgentEnv = z.infer<typeof agentEnvSchema> & {
  /** The URL that an environment variable holds; undefined when it is not set. */
  databaseUrl: (variable: string) => string | undefined
  /** Values that must never leave the agent, for the redactor. */
  secrets: string[]
}

/** What a key's own commands need: they come first, before there are databases, a bucket, or a policy. */
const enrollEnvSchema = agentEnvSchema
  .pick({ AGENT_ID: true, AGENT_KEY_FILE: true, TRUST_FILE: true })
  .extend({ CONTROL_PLANE_URL: agentEnvSchema.shape.CONTROL_PLANE_URL.unwrap() })
export type EnrollEnv = z.infer<typeof enrollEnvSchema>

const DATABASE_URL = /^postgres(ql)?:\/\//
/** Far above any URL, and far below what is worth reading to look for one. */
const URL_FILE_MAX_BYTES = 16 * 1024

/** Throws `config-invalid`. */
export function readEnrollEnv(env: NodeJS.ProcessEnv = process.env): EnrollEnv {
  const isOurs = (name: string): boolean => Object.hasOwn(enrollEnvSchema.shape, name)
  return parseEnv(enrollEnvSchema, readFileVariables(env, isOurs, readText))
}

/** Reads the environment, and the files that it names values by. Throws `config-invalid` with every mistake at once, and no value. */
export function readEnv(env: NodeJS.ProcessEnv = process.env): AgentEnv {
  const isOurs = (name: string): boolean =>
    Object.hasOwn(agentEnvSchema.shape, name) || name.endsWith('_DATABASE_URL') || DATABASE_URL.test(env[name] ?? '')
  const variables = readFileVariables(env, isOurs, readText)
  const parsed = parseEnv(agentEnvSchema, variables)
  const set = { ...variables.set, ...urlsOfOtherFiles(variables.set) }
  // Every variable that holds a database's URL, whatever a policy's url_env calls it.
  const urls = Object.values(set).filter((value) => DATABASE_URL.test(value))
  return {
    ...parsed,
    databaseUrl: (variable) => set[variable],
    secrets: [
      parsed.S3_SECRET_ACCESS_KEY,
      parsed.S3_ACCESS_KEY_ID,
      ...(parsed.TYPESENSE_API_KEY === undefined ? [] : [parsed.TYPESENSE_API_KEY]),
      ...urls.flatMap((url) => [url, ...passwordsOf(url)]),
    ],
  }
}

/** How our variables begin; what else does is a slip of the pen, or somebody else's. */
const OURS = /^(AGENT|TRUST|CONTROL_PLANE|S3|TYPESENSE|HEALTH)_/

/** Set variables that look like ours, and that nothing reads. */
function unknownOf(env: NodeJS.ProcessEnv): string[] {
  const isKnown = (name: string): boolean =>
    Object.hasOwn(agentEnvSchema.shape, name) || Object.hasOwn(agentEnvSchema.shape, name.replace(/_FILE$/, ''))
  const isUrl = (name: string): boolean => /_DATABASE_URL(_FILE)?$/.test(name) || DATABASE_URL.test(env[name] ?? '')
  return Object.keys(env).filter((name) => OURS.test(name) && env[name] !== '' && !isKnown(name) && !isUrl(name))
}

/** Stands where a value is needed and wrong. */
const PLACEHOLDER = 'wrong'
const REQUIRED = new Set(['S3_BUCKET', 'S3_ACCESS_KEY_ID', 'S3_SECRET_ACCESS_KEY'])

/**
 * The environment without what is wrong in it, for who tells of everything at once: `wrong` are the names of these
 * variables, and what `settings` says of them counts for nothing; `mistakes` are sentences that begin with the name; `unknown`
 * look like ours and are read by nobody.
 */
export function readEnvAround(env: NodeJS.ProcessEnv = process.env): {
  settings: AgentEnv
  wrong: Set<string>
  mistakes: string[]
  unknown: string[]
} {
  const [wrong, unknown] = [new Set<string>(), unknownOf(env)]
  try {
    return { settings: readEnv(env), wrong, mistakes: [], unknown }
  } catch (thrown) {
    const { code, details } = toSyncError(thrown)
    if (code !== 'config-invalid') throw thrown
    const mended = { ...env }
    for (const detail of details) {
      const name = (/^[A-Z][A-Z0-9_]*/.exec(detail)?.[0] ?? '').replace(/_FILE$/, '')
      for (const spelling of [name, `${name}_FILE`]) delete mended[spelling]
      if (REQUIRED.has(name)) mended[name] = PLACEHOLDER
      wrong.add(name)
    }
    return { settings: readEnv(mended), wrong, mistakes: [...details], unknown }
  }
}

function readText(path: string): string {
  return readFileSync(path, 'utf8')
}

/** A policy may call a URL's variable whatever it likes: of all other files, those count that hold such a URL. */
function urlsOfOtherFiles(set: Record<string, string>): Record<string, string> {
  const found = Object.entries(set).flatMap(([fileName, path]) => {
    const [, name = ''] = /^([A-Z][A-Z0-9_]*)_FILE$/.exec(fileName) ?? []
    if (name === '' || set[name] !== undefined || Object.hasOwn(agentEnvSchema.shape, fileName)) return []
    const [url = ''] = readSmallFile(path).split(/\r?\n$/)
    return DATABASE_URL.test(url) ? [[name, url] as const] : []
  })
  return Object.fromEntries(found)
}

/** Empty for what is no small file: it is not known to be meant for us. */
function readSmallFile(path: string): string {
  try {
    const file = statSync(path)
    return file.isFile() && file.size <= URL_FILE_MAX_BYTES ? readText(path) : ''
  } catch {
    return ''
  }
}

function parseEnv<Schema extends z.ZodType>(schema: Schema, variables: Variables): z.output<Schema> {
  const parsed = schema.safeParse(variables.set)
  if (parsed.success && variables.mistakes.length === 0) return parsed.data
  const issues = (parsed.error?.issues ?? []).flatMap(({ path: [key], message }) => {
    const name = String(key)
    return mistakeOf(variables, name, variables.set[name] === undefined ? `${name} is not set` : `${name}: ${message}`)
  })
  throw new SyncError('config-invalid', "The agent's environment is not complete.", {
    hint: 'See docs/CONFIGURATION.md for every variable; .env.example is a form to fill in.',
    details: [...variables.mistakes, ...issues],
  })
}

/** The password of a URL, as it is written there and as it is meant. */
function passwordsOf(url: string): string[] {
  const { password = '', searchParams } = URL.parse(url) ?? {}
  return [password, decoded(password), searchParams?.get('password') ?? ''].filter((text) => text !== '')
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** What reaching the control plane takes, and nothing that is secret but a proxy's password. */
const FOR_THREADS = ['NODE_COMPILE_CACHE', 'NODE_USE_ENV_PROXY', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']

/** The environment of a thread that calls the control plane. */
export function threadEnv(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return Object.fromEntries(FOR_THREADS.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])))
}

/** Where compiled modules are kept, for a thread that calls nobody: stripping its types anew would be a third of its work. */
export function compileCacheEnv({ NODE_COMPILE_CACHE }: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE }
}

/** What names the proxy that Node's fetch takes; undefined where it takes none. */
export function proxyEnv(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv | undefined {
  return env['NODE_USE_ENV_PROXY'] === '1' ? threadEnv(env) : undefined
}
