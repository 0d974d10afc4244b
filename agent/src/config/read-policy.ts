import { readFile } from 'node:fs/promises'
import type { Mapping } from '@multiboard-sync/shared/mapping'
import { policySchema, policySha256, type Policy } from '@multiboard-sync/shared/policy'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { parse, YAMLParseError } from 'yaml'

export interface LoadedPolicy {
  policy: Policy
  /** Hex; what orders must name. */
  sha256: string
}

/** Reads agent.yaml. Throws `config-invalid` with every mistake at once; values are not printed. */
export async function readPolicy(path: string): Promise<LoadedPolicy> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new SyncError('config-invalid', `The policy file ${path} cannot be read.`, {
      hint: 'Set AGENT_CONFIG to the policy file; agent.example.yaml shows its form.',
      cause,
    })
  }
  const policy = parsePolicy(text, path)
  return { policy, sha256: policySha256(policy) }
}

/** Parses the policy's text; `path` is for messages only. Throws as readPolicy does. */
export function parsePolicy(text: string, path: string): Policy {
  let raw: unknown
  try {
    // "warn" would print on stderr what it found, values and all.
    raw = parse(text, { logLevel: 'error' })
  } catch (cause) {
    const place = cause instanceof YAMLParseError ? cause.linePos?.[0] : undefined
    throw new SyncError('config-invalid', `${path} is not YAML.`, {
      hint: 'agent.example.yaml shows its form; indent with spaces.',
      // The parser's own message quotes the line.
      details: place ? [`line ${place.line}, column ${place.col}`] : [],
      cause,
    })
  }
  const parsed = policySchema.safeParse(raw)
  const policy = parsed.success ? nameDatabases(parsed.data) : undefined
  const findings = policy
    ? [...contradictions(policy), ...contradictoryCollections(policy)]
    : (parsed.error?.issues ?? []).map((issue) => `${issue.path.join('.') || 'the file'}: ${issue.message}`)
  if (policy && findings.length === 0) return policy
  throw new SyncError('config-invalid', `${path} is not a valid policy.`, {
    hint: 'agent.example.yaml shows its form.',
    details: findings,
  })
}

/** A collection that names no database is made of the rows of the only one that routes lead to. */
function nameDatabases(policy: Policy): Policy {
  const targets = [...new Set(policy.routes.map(({ to }) => to))]
  const only = targets.length === 1 ? targets[0] : undefined
  const named = Object.entries(policy.collections).map(([alias, mapping]): [string, Mapping] => [
    alias,
    mapping.database === undefined && only !== undefined ? { ...mapping, database: only } : mapping,
  ])
  return { ...policy, collections: Object.fromEntries(named) }
}

function contradictoryCollections({ databases, routes, collections }: Policy): string[] {
  const ofMappings = Object.entries(collections).flatMap(([alias, { database, from, sql }]) => {
    const findings: string[] = []
    if (from === undefined && sql === undefined) findings.push('name a table or view with from, or a query with sql')
    if (from !== undefined && sql !== undefined) findings.push('from and sql are both there; only one can be meant')
    if (database === undefined) findings.push('name its database: routes lead to none or to several')
    else if (!Object.hasOwn(databases, database)) findings.push(`no database is named "${database}"`)
    return findings.map((finding) => `collections.${alias}: ${finding}`)
  })
  const ofRoutes = routes.flatMap(({ to, collections: named = [] }, index) =>
    named.flatMap((alias) => {
      const database = Object.hasOwn(collections, alias) ? collections[alias]?.database : undefined
      if (!Object.hasOwn(collections, alias)) return [`routes.${index}.collections: no collection is named "${alias}"`]
      return database === undefined || database === to
        ? []
        : [`routes.${index}.collections: "${alias}" is made of the rows of "${database}", not of "${to}"`]
    }),
  )
  return [...ofMappings, ...ofRoutes]
}

/** What has the right form and cannot be meant. */
function contradictions({ databases, routes }: Policy): string[] {
  const seen = new Set<string>()
  return routes.flatMap(({ from, to }, index) => {
    const findings: string[] = []
    for (const name of new Set([from, to])) {
      if (!Object.hasOwn(databases, name)) findings.push(`no database is named "${name}"`)
    }
    if (databases[from]?.role === 'target') findings.push(`"${from}" has the role target, so nothing flows from it`)
    if (databases[to]?.role === 'source') findings.push(`"${to}" has the role source, so nothing flows into it`)
    // Only the first of two lines for one pair would count.
    if (seen.has(`${from} ${to}`)) findings.push(`there is a route from "${from}" to "${to}" already`)
    seen.add(`${from} ${to}`)
    return findings.map((finding) => `routes.${index}: ${finding}`)
  })
}
