import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { agentEnvSchema } from '../../agent/src/env-schema.ts'
import { readEnv as readAgentEnv } from '../../agent/src/env.ts'
import { parsePolicy } from '../../agent/src/config/read-policy.ts'
import { controlPlaneEnvSchema } from '../../control-plane/src/env-schema.ts'
import { policySchema } from '../../shared/src/policy.ts'
import { describeSchema, type Described } from './described.ts'
import { envExampleText } from './env-example-text.ts'
import { referenceText } from './reference-text.ts'

const committed = async (name: string): Promise<string> =>
  await readFile(new URL(`../../${name}`, import.meta.url), 'utf8')

test('docs/CONFIGURATION.md and .env.example are what the schemas say: else run `pnpm configuration`', async () => {
  expect(await committed('docs/CONFIGURATION.md')).toBe(referenceText())
  expect(await committed('.env.example')).toBe(envExampleText())
})

test('every variable says what it means, in the reference and in the example', async () => {
  const [reference, example] = [referenceText(), envExampleText()]
  for (const schema of [agentEnvSchema, controlPlaneEnvSchema]) {
    for (const [name, { description }] of Object.entries(describeSchema(schema).properties ?? {})) {
      expect(description, name).toMatch(/\.$/)
      expect(reference, name).toContain(`| \`${name}\` |`)
      expect(example, name).toMatch(new RegExp(`^${name}=`, 'm'))
    }
  }
})

test('every key of the policy says what it means', () => {
  const silent = (path: string, described: Described): string[] => {
    const inner =
      (described.items && described.items.type === 'object' && described.items) ||
      described.additionalProperties ||
      described
    return Object.entries(inner.properties ?? {}).flatMap(([name, key]) => {
      const isRefused = key.type === undefined && key.anyOf === undefined && key.enum === undefined
      const own = key.description === undefined && !isRefused ? [`${path}${name}`] : []
      return [...own, ...silent(`${path}${name}.`, key)]
    })
  }
  expect(silent('', describeSchema(policySchema))).toEqual([])
  expect(referenceText()).toContain('| `routes[].tables.include` |')
  expect(referenceText()).toContain('| `collections.<name>.fields[].type` |')
})

test('agent.example.yaml is a policy, and names every key but those of collections', async () => {
  const text = await committed('agent.example.yaml')
  expect(Object.keys(parsePolicy(text, 'agent.example.yaml').databases)).toEqual(['production', 'staging'])
  const { properties = {} } = describeSchema(policySchema)
  const { databases, routes, limits, archive } = properties
  const inner = [databases?.additionalProperties || {}, (routes?.items || {}) as Described, limits ?? {}, archive ?? {}]
  const names = [...Object.keys(properties), ...inner.flatMap((key) => Object.keys(key.properties ?? {}))]
  expect(names.length).toBeGreaterThan(20)
  expect(names.filter((name) => !new RegExp(`\\b${name}:`).test(text))).toEqual([])
})

test('.env.example, filled in as it is, is an environment of an agent', () => {
  const env = Object.fromEntries(
    envExampleText()
      .split('\n')
      .filter((line) => /^[A-Z]/.test(line))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
  const read = readAgentEnv(env)
  expect(read).toMatchObject({ AGENT_ID: 'vps-1', S3_FORCE_PATH_STYLE: false, LOG_LEVEL: 'info' })
  expect(read.databaseUrl('STAGING_DATABASE_URL')).toContain('postgresql://')
})
