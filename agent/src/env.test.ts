import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createRedactor } from './report/redact.ts'
import { readEnrollEnv, readEnv } from './env.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'env-'))
})
afterAll(async () => await rm(folder, { recursive: true }))

/** A file as a secret's mount makes it; answers its path. */
async function fileOf(name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  return path
}

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

test('what files say is as good as what variables say, and the secrets among it are hidden', async () => {
  const env = readEnv({
    S3_BUCKET_FILE: await fileOf('bucket', 'archive'),
    S3_ACCESS_KEY_ID_FILE: await fileOf('id', 'canary-id\n'),
    S3_SECRET_ACCESS_KEY_FILE: await fileOf('secret', 'canary-secret\n'),
    TYPESENSE_API_KEY_FILE: await fileOf('typesense', 'canary-key\n'),
    PRODUCTION_DATABASE_URL_FILE: await fileOf('production', 'postgres://user:canary-pw@host/db\n'),
    OLD_STAGING_FILE: await fileOf('staging', 'postgresql://user:canary-old@host/db\n'),
    SSL_CERT_FILE: await fileOf('cert', 'canary'),
    SOME_FILE: join(folder, 'not-there'),
  })
  expect(env.S3_BUCKET).toBe('archive')
  expect(env.databaseUrl('PRODUCTION_DATABASE_URL')).toBe('postgres://user:canary-pw@host/db')
  expect(env.databaseUrl('OLD_STAGING')).toBe('postgresql://user:canary-old@host/db')
  expect(env.databaseUrl('SSL_CERT')).toBeUndefined()
  const told = createRedactor(env.secrets)('canary-id canary-secret canary-key canary-pw canary-old')
  expect(told).toBe('*** *** *** *** ***')
})

test('a file that cannot be read, and a variable beside its file, are mistakes like others', async () => {
  const path = await fileOf('url', 'postgres://user:canary@host/db')
  const wrong = {
    ...complete,
    S3_BUCKET: '',
    S3_BUCKET_FILE: join(folder, 'canary'),
    S3_SECRET_ACCESS_KEY_FILE: path,
    STAGING_DATABASE_URL_FILE: join(folder, 'canary'),
    TYPESENSE_API_KEY_FILE: await fileOf('empty', '\n'),
    S3_ACCESS_KEY_ID: '',
    S3_ACCESS_KEY_ID_FILE: await fileOf('empty-id', ''),
    OLD_URL: 'postgres://user:canary@host/db',
    OLD_URL_FILE: path,
    AGENT_ID: 'Canary One',
  }
  const read = (): unknown => readEnv(wrong)
  expect(read).toThrow(
    expect.objectContaining({
      code: 'config-invalid',
      details: [
        'S3_BUCKET_FILE: the file cannot be read (ENOENT)',
        'S3_SECRET_ACCESS_KEY_FILE: S3_SECRET_ACCESS_KEY is set as well; only one of them can be meant',
        'STAGING_DATABASE_URL_FILE: the file cannot be read (ENOENT)',
        'OLD_URL_FILE: OLD_URL is set as well; only one of them can be meant',
        expect.stringMatching(/^AGENT_ID: /),
        'S3_ACCESS_KEY_ID_FILE: the file is empty',
      ],
    }),
  )
  expect(read).not.toThrow(/canary/i)
})

test('enrolling reads the files of what it needs, and no others', async () => {
  const url = await fileOf('plane', 'https://sync.example.com\n')
  const others = { S3_BUCKET_FILE: join(folder, 'not-there') }
  expect(readEnrollEnv({ ...others, CONTROL_PLANE_URL_FILE: url }).CONTROL_PLANE_URL).toBe('https://sync.example.com')
})

test.each([
  ['127.0.0.1:9464', { host: '127.0.0.1', port: 9464 }],
  ['[::1]:80', { host: '::1', port: 80 }],
  ['localhost:0', { host: 'localhost', port: 0 }],
])('HEALTH_LISTEN may be %s', (text, listen) => {
  expect(readEnv({ ...complete, HEALTH_LISTEN: text }).HEALTH_LISTEN).toEqual(listen)
})

test.each(['9464', ':9464', '127.0.0.1', '127.0.0.1:99999', 'http://127.0.0.1:9464'])(
  'HEALTH_LISTEN may not be %s',
  (text) => {
    expect(() => readEnv({ ...complete, HEALTH_LISTEN: text })).toThrow(
      expect.objectContaining({ details: [expect.stringMatching(/^HEALTH_LISTEN: /)] }),
    )
  },
)
