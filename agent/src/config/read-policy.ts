import { readFile } from 'node:fs/promises'
import { policySchema, policySha256, type Policy } from '@multiboard-sync/shared/policy'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { parse } from 'yaml'

export interface LoadedPolicy {
  policy: Policy
  /** Hex; what orders must name. */
  sha256: string
}

/** Reads agent.yaml. Throws `config-invalid` with every mistake at once; values are not printed. */
export async function readPolicy(path: string): Promise<LoadedPolicy> {
  let raw: unknown
  try {
    raw = parse(await readFile(path, 'utf8'))
  } catch (cause) {
    throw new SyncError('config-invalid', `${path} cannot be read as YAML.`, {
      hint: 'Set AGENT_CONFIG to the policy file; agent.example.yaml shows its form.',
      cause,
    })
  }
  const parsed = policySchema.safeParse(raw)
  const findings = parsed.success
    ? unknownNames(parsed.data)
    : parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
  if (!parsed.success || findings.length > 0) {
    throw new SyncError('config-invalid', `${path} is not a valid policy.`, {
      hint: 'agent.example.yaml shows its form.',
      details: findings,
    })
  }
  return { policy: parsed.data, sha256: policySha256(parsed.data) }
}

function unknownNames(policy: Policy): string[] {
  return policy.routes.flatMap((route, index) =>
    [route.from, route.to]
      .filter((name) => !policy.databases[name])
      .map((name) => `routes.${index}: no database is named "${name}"`),
  )
}
