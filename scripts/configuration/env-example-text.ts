import { agentEnvSchema, databaseUrlVariable } from '../../agent/src/env-schema.ts'
import { controlPlaneEnvSchema } from '../../control-plane/src/env-schema.ts'
import { describeSchema, type Described } from './described.ts'

const WIDTH = 120

/** .env.example, from the schemas that read the environment. */
export function envExampleText(): string {
  const agent = sectionOf(describeSchema(agentEnvSchema))
  const at = agent.findIndex((block) => block.includes('\nS3_ENDPOINT='))
  return `${[
    HEAD,
    heading('Agent'),
    ...agent.slice(0, at),
    block(databaseUrlVariable.description, databaseUrlVariable.examples),
    ...agent.slice(at),
    heading('Control plane'),
    ...sectionOf(describeSchema(controlPlaneEnvSchema)),
  ].join('\n\n')}\n`
}

const HEAD = `# Every variable that the agent and the control plane read. Copy the part you need to the machine that runs it.
# An empty variable counts as one that is not set. Secrets stand here only as places; fill them in on that machine, or name
# a file that holds them: X_FILE instead of X, for every X. docs/CONFIGURATION.md tells forms, limits and defaults.
# Nothing reads .env by itself: in a shell \`set -a; . ./.env; set +a\`, or let what starts the process read it.
# Written by \`pnpm configuration\`.`

function heading(name: string): string {
  return `# ---- ${name} `.padEnd(WIDTH, '-')
}

function sectionOf({ properties = {}, required = [] }: Described): string[] {
  return Object.entries(properties).map(([name, variable]) => {
    const { description = '', example, default: value, fallback } = variable
    const shown = example ?? fallback ?? (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''))
    const needed = required.includes(name) ? ' Needed.' : ''
    return block(`${description}${needed}`, typeof shown === 'string' ? { [name]: shown } : shown)
  })
}

function block(description: string, values: Record<string, string>): string {
  const lines = Object.entries(values).map(([name, value]) => `${name}=${value}`)
  return [...wrap(description.replaceAll('`', '')), ...lines].join('\n')
}

function wrap(text: string): string[] {
  const lines = ['#']
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? ''
    if (last.length + 1 + word.length > WIDTH) lines.push(`# ${word}`)
    else lines[lines.length - 1] = `${last} ${word}`
  }
  return lines
}
