import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseTrustFile } from '../../agent/src/verify/trust-file.ts'
import { makeControlPlaneKey, makeKeys } from '../../scripts/make-keys.ts'
import { addKey, removeKey } from '../../scripts/keys/change-trust.ts'

let dir: string
let trustFile: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'keys-'))
  ;({ trustFile } = await makeKeys(dir))
})

afterEach(async () => await rm(dir, { recursive: true }))

const trusted = async () => await parseTrustFile(await readFile(trustFile, 'utf8'))
const NOON = new Date('2026-11-22T12:00:00Z')

test('G20: a second key is trusted beside the first, within its dates, and the first can be taken out', async () => {
  const [old = ''] = (await trusted()).orderKids()
  const next = await makeControlPlaneKey(join(dir, 'next'))
  const dates = { notBefore: '2026-11-22T13:00:00+01:00', notAfter: '2026-12-22T00:00:00Z' }
  expect(await addKey(trustFile, next.publicFile, 'order', dates)).toBe(next.kid)
  const both = await trusted()
  expect(both.orderKids()).toEqual([old, next.kid])
  expect(await both.findOrderKey(next.kid, NOON)).toBeDefined()
  expect(await both.findOrderKey(next.kid, new Date(NOON.getTime() - 1))).toBeUndefined()
  expect(await both.findOrderKey(next.kid, new Date('2026-12-22T00:00:00Z'))).toBeUndefined()
  await removeKey(trustFile, old)
  expect((await trusted()).orderKids()).toEqual([next.kid])
})

test('of a private key only the public half gets into a trust file, which nobody else may read', async () => {
  const next = await makeControlPlaneKey(join(dir, 'next'))
  await addKey(trustFile, next.keyFile, 'order', {})
  const { d } = JSON.parse(await readFile(next.keyFile, 'utf8')) as { d: string }
  expect(await readFile(trustFile, 'utf8')).not.toContain(d)
  expect((await stat(trustFile)).mode & 0o777).toBe(0o600)
  expect((await stat(next.keyFile)).mode & 0o777).toBe(0o600)
})

test('no key is ever overwritten, and what cannot be done changes nothing', async () => {
  const next = await makeControlPlaneKey(join(dir, 'next'))
  const key = await readFile(next.keyFile, 'utf8')
  await expect(makeControlPlaneKey(join(dir, 'next'))).rejects.toMatchObject({ code: 'EEXIST' })
  await expect(makeKeys(dir)).rejects.toMatchObject({ code: 'EEXIST' })
  expect(await readFile(next.keyFile, 'utf8')).toBe(key)

  await addKey(trustFile, next.publicFile, 'order', {})
  const before = await readFile(trustFile, 'utf8')
  await expect(addKey(trustFile, next.publicFile, 'order', {})).rejects.toThrow('already')
  await expect(removeKey(trustFile, 'nobody')).rejects.toThrow('no key nobody')
  const other = await makeControlPlaneKey(join(dir, 'other'))
  for (const dates of [
    { notBefore: 'tomorrow' },
    { notAfter: '2026-12-22' },
    { notAfter: '2026-12-22T00:00:00' },
    { notBefore: '2026-12-22T00:00:00Z', notAfter: '2026-11-22T00:00:00Z' },
  ]) {
    await expect(addKey(trustFile, other.publicFile, 'order', dates)).rejects.toThrow('--not-')
  }
  await writeFile(join(dir, 'none.json'), '{"kty":"RSA"}')
  await expect(addKey(trustFile, join(dir, 'none.json'), 'order', {})).rejects.toThrow('no Ed25519 key')
  expect(await readFile(trustFile, 'utf8')).toBe(before)
  await writeFile(trustFile, '{"keys":[{}]}')
  await expect(addKey(trustFile, other.publicFile, 'order', {})).rejects.toMatchObject({ code: 'config-invalid' })
  expect(await readFile(trustFile, 'utf8')).toBe('{"keys":[{}]}')
})

test('the command says what it did, and what it does not understand', async () => {
  const script = fileURLToPath(new URL('../../scripts/make-keys.ts', import.meta.url))
  const keys = async (...args: string[]): Promise<[number, string]> =>
    await new Promise((resolve) => {
      execFile(process.execPath, [script, ...args], { cwd: dir, timeout: 20_000 }, (error, stdout, stderr) =>
        resolve([error ? Number(error.code) : 0, stdout + stderr]),
      )
    })
  const [made, text] = await keys('control-plane', '--dir', 'next')
  expect([made, text]).toEqual([0, expect.stringContaining('control-plane.pub.json')])
  expect(await keys('trust', 'trust.json', 'next/control-plane.pub.json')).toEqual([
    0,
    expect.stringContaining('SIGHUP'),
  ])
  expect(await Promise.all([keys('revoke', 'trust.json', 'nobody'), keys('trust', 'trust.json')])).toEqual([
    [1, expect.stringContaining('Nothing was changed')],
    [2, expect.stringContaining('usage: pnpm keys')],
  ])
})
