import { expect, test } from 'vitest'
import { issuersSchema } from './issuer.ts'

test('G21: no issuer gets the name of tokens or agents for its people, nor one that no order can hold', () => {
  const issuer = { audience: 'sync', public_jwk: { kty: 'OKP' }, algorithms: ['EdDSA'], default_role: 'viewer' }
  for (const name of ['token', 'agent', 'https://token', 'https://agent/', `https://${'a.'.repeat(60)}example.com`]) {
    expect(issuersSchema.safeParse([{ ...issuer, issuer: name }]).success, name).toBe(false)
    expect(issuersSchema.safeParse([{ ...issuer, issuer: name, name: 'people' }]).success, name).toBe(true)
  }
  for (const name of ['https://id.example.com:8443/realms/x', 'admin-app', 'http://localhost:3000']) {
    expect(issuersSchema.safeParse([{ ...issuer, issuer: name }]).success, name).toBe(true)
  }
})
