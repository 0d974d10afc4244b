import { agentEnvSchema, databaseUrlVariable } from '../../agent/src/env-schema.ts'
import { controlPlaneEnvSchema } from '../../control-plane/src/env-schema.ts'
import { policySchema } from '../../shared/src/policy.ts'
import { defaultOf, describeSchema, formOf, table, type Described } from './described.ts'

/** docs/CONFIGURATION.md, from the schemas that read the configuration. */
export function referenceText(): string {
  const policy = describeSchema(policySchema)
  return `${[
    HEAD,
    '## The agent: environment',
    variables(describeSchema(agentEnvSchema), [databaseUrlRow()]),
    AGENT_NODE,
    '## The control plane: environment',
    variables(describeSchema(controlPlaneEnvSchema)),
    CONTROL_PLANE_MORE,
    '## The agent: agent.yaml',
    POLICY,
    ...Object.entries(policy.properties ?? {}).map(([name, key]) => keyText(name, key, isNeeded(policy, name))),
  ].join('\n\n')}\n`
}

const HEAD = `# Configuration

Every variable of both programs, and every key of the agent's policy. This file is written from the schemas that read them:
\`pnpm configuration\` writes it and [.env.example](../.env.example), \`pnpm configuration --check\` tells whether they are up to
date, and the unit tests fail where they are not.

Rules for all variables:

- A variable that is empty is one that is not set.
- Each variable \`X\` of the tables below may be given by a file as well: \`X_FILE\` holds the file's path, and the file's text
  without one line break at its end is the value. That is how Docker, Kubernetes and systemd hand out secrets. An empty file counts
  as not set. \`X\` and \`X_FILE\` together are a mistake. Variables whose own name ends in \`_FILE\` (AGENT_KEY_FILE, TRUST_FILE) have no
  such form.
- All mistakes are told at once, by name, when the program starts (exit code 2 of the agent, 1 of the control plane). No value and
  no path is ever printed.
- The environment and the files that it names are read once, at the start. The policy, the trust file and the agent's key are read
  again at SIGHUP.
- Nothing reads \`.env\` by itself.`

const AGENT_NODE = `Where NODE_USE_ENV_PROXY is 1, Node itself takes HTTP_PROXY, HTTPS_PROXY and NO_PROXY for calls to the control plane. They have
no \`_FILE\` form.

\`agent health\` needs AGENT_STATE_DIR alone. \`agent enroll\` and \`agent rotate-key\` need AGENT_ID, AGENT_KEY_FILE, TRUST_FILE and
CONTROL_PLANE_URL.`

const CONTROL_PLANE_MORE = `\`pnpm migrate\` and \`pnpm tokens\` need DATABASE_URL (or DATABASE_URL_FILE) alone. As functions, HOST and PORT mean nothing.`

const POLICY = `The policy that AGENT_CONFIG names. What it does not allow does not happen, whatever was asked for or signed.
[agent.example.yaml](../agent.example.yaml) is one to start from. A key that is not in these tables is a mistake. Every mistake is told at
once, with its place. SIGHUP has a running agent read it again.`

function databaseUrlRow(): string[] {
  const { name, description } = databaseUrlVariable
  return [`\`${name}\``, 'URL', 'one for each database', 'yes', description]
}

function variables(schema: Described, more: string[][] = []): string {
  const rows = Object.entries(schema.properties ?? {}).map(([name, variable]) => [
    `\`${name}\``,
    variable.unit === undefined ? formOf(variable) : `${formOf(variable)} (${variable.unit})`,
    defaultOf(variable, isNeeded(schema, name)),
    variable.secret ? 'yes' : 'no',
    variable.description ?? '',
  ])
  return table(['variable', 'form', 'default', 'secret', 'meaning'], [...rows, ...more])
}

function keyText(name: string, key: Described, needed: boolean): string {
  const rows = rowsOf(pathOf(name, key), key)
  const own = rows.length === 0 ? ` Form: ${formOf(key)}. Default: ${defaultOf(key, needed)}.` : ''
  const heading = `### ${name}\n\n${key.description ?? ''}${own}`
  return rows.length === 0 ? heading : `${heading}\n\n${table(['key', 'form', 'default', 'meaning'], rows)}`
}

/** \`databases.<name>\`, \`routes[]\`, \`limits\`. */
function pathOf(path: string, { items, additionalProperties }: Described): string {
  if (items && items.type === 'object') return `${path}[]`
  return additionalProperties ? `${path}.<name>` : path
}

/** What stands beneath a key, in its order, each by its whole path. */
function rowsOf(path: string, described: Described): string[][] {
  const { items, additionalProperties } = described
  const inner = (items && items.type === 'object' && items) || additionalProperties || described
  return Object.entries(inner.properties ?? {}).flatMap(([name, key]) => {
    // What is known and refused with a reason of its own.
    if (key.type === undefined && key.anyOf === undefined && key.enum === undefined) return []
    const whole = `${path}.${name}`
    const row = [`\`${whole}\``, formOf(key), defaultOf(key, isNeeded(inner, name)), key.description ?? '']
    return [row, ...rowsOf(pathOf(whole, key), key)]
  })
}

function isNeeded({ required = [] }: Described, name: string): boolean {
  return required.includes(name)
}
