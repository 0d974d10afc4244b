import { expect, test } from 'vitest'
import { createRedactor } from './report/redact.ts'
import { readEnv } from './env.ts'

const complete = { S3_BUCKET: 'archive', S3_ACCESS_KEY_ID: 'key-id-1', S3_SECRET_ACCESS_KEY: 'canary-secret' }

test('an empty variable is as good as none: defaults hold', () => {
  const env = readEnv({ ...complete, AGENT_ID: '', S3_REGION: '', CONTROL_PLANE_URL: '' })
  expect(env).toMatchObject({ AGENT_ID: 'local', S3_REGION: 'us-east-1', S3_FORCE_PATH_STYLE: false, S3_PREFIX: '' })
  expect(env.CONTROL_PLANE_URL).toBeUndefined()
})

test('a control plane beneath a path is refused, because signatures name the paths that it sees', () => {
  const read = (): unknown => readEnv({ ...complete, CONTROL_PLANE_URL: 'https://sync.example.com/sub' })
  expect(read).toThrow(
    expect.objectContaining({ code: 'config-invalid', details: ['CONTROL_PLANE_URL: must have no path'] }),
  )
  expect(readEnv({ ...complete, CONTROL_PLANE_URL: 'https://sync.example.com' }).CONTROL_PLANE_URL).toBeDefined()
})

test('every mistake is named at once, and no value', () => {
  const wrong = { AGENT_ID: 'Canary One', S3_ENDPOINT: 'canary', S3_PREFIX: '/canary/', S3_FORCE_PATH_STYLE: 'canary' }
  const read = (): unknown => readEnv({ ...wrong, S3_ACCESS_KEY_ID: 'canary' })
  expect(read).toThrow(
    expect.objectContaining({
      code: 'config-invalid',
      details: [
        expect.stringMatching(/^AGENT_ID: /),
        expect.stringMatching(/^S3_ENDPOINT: /),
        'S3_BUCKET is not set',
        expect.stringMatching(/^S3_PREFIX: /),
        'S3_SECRET_ACCESS_KEY is not set',
        expect.stringMatching(/^S3_FORCE_PATH_STYLE: /),
      ],
    }),
  )
  expect(read).not.toThrow(/canary/i)
})

test('the secrets are every database URL, whatever its variable is called, and the passwords in them', () => {
  const redact = createRedactor(
    readEnv({
      ...complete,
      OLD_STAGING_URL: 'postgresql://user:canary-pw%2F1@host/db',
      OTHER: 'postgres://user@host/db?password=canary-query',
    }).secrets,
  )
  const told = redact(
    'canary-secret key-id-1 canary-pw%2F1 canary-pw/1 canary-query postgresql://user:canary-pw%2F1@host/db',
  )
  expect(told).not.toMatch(/canary|key-id/)
})

test('a search server may be named by a bare host, which means https, and its key is a secret', () => {
  const env = readEnv({ ...complete, TYPESENSE_HOST: 'search.example.com', TYPESENSE_API_KEY: 'canary-key' })
  expect(env.TYPESENSE_HOST?.href).toBe('https://search.example.com/')
  expect(env.TYPESENSE_PATIENCE_SECONDS).toBe(600)
  expect(createRedactor(env.secrets)('the key canary-key')).toBe('the key ***')
  expect(readEnv({ ...complete, TYPESENSE_HOST: 'http://10.0.0.5:8108' }).TYPESENSE_HOST?.port).toBe('8108')
})

test.each([
  ['https://user:canary@search.example.com', 'TYPESENSE_HOST: must have no user and password'],
  ['ftp://search.example.com', expect.stringMatching(/^TYPESENSE_HOST: /)],
  ['search example', expect.stringMatching(/^TYPESENSE_HOST: /)],
  ['https://search.example.com?x=canary', 'TYPESENSE_HOST: must have no query'],
])('%s names no search server', (host, finding) => {
  const read = (): unknown => readEnv({ ...complete, TYPESENSE_HOST: host })
  expect(read).toThrow(expect.objectContaining({ code: 'config-invalid', details: [finding] }))
  expect(read).not.toThrow(/canary/)
})
