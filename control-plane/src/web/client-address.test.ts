import { expect, test } from 'vitest'
import { clientAddress } from './client-address.ts'

test('T19: who has one network of IPv6 has one budget, however its addresses are written', () => {
  const networkOf = (address: string): string =>
    clientAddress({ req: { header: () => address } } as unknown as Parameters<typeof clientAddress>[0], 'x-real-ip')
  for (const one of [
    '2001:db8::a:1:2:3',
    '2001:db8::b:0:0:1',
    '2001:db8::1',
    '2001:DB8:0:0:1::',
    '2001:0db8:0:0:1:2:3:4',
  ]) {
    expect(networkOf(one), one).toBe(networkOf('2001:db8::'))
  }
  for (const other of ['2001:db8:0:1::', '2001:db9::', '::1', '2001::db8:0:0:0:0']) {
    expect(networkOf(other), other).not.toBe(networkOf('2001:db8::'))
  }
  expect(networkOf('::ffff:203.0.113.7')).not.toBe(networkOf('::ffff:203.0.113.8'))
  expect(networkOf('::FFFF:203.0.113.7')).not.toBe(networkOf('::FFFF:203.0.113.8'))
})
