import { describe, expect, it } from 'vitest'
import { createRedactor, redactRecord } from './redact.ts'

describe('the redactor', () => {
  const redact = createRedactor(['hunter2!', 'p@ss/w"ord', 'abc', '', 'postgres://u:hunter2!@db.internal/app'])

  it.each([
    ['postgres://app:s3cret@db.example.com:5432/app failed', 'postgres://***@db.example.com:5432/app failed'],
    ['postgresql://app:p@ss@db/app', 'postgresql://***@db/app'],
    ['https://token@git.example.com/x and http://a:b@c/d', 'https://***@git.example.com/x and http://***@c/d'],
    ['host=db password=s3cret dbname=x', 'host=db password=*** dbname=x'],
    ["password='it''s' user=x", 'password=*** user=x'],
    ["alter role app password 's3''cret' valid until 'x'", "alter role app password *** valid until 'x'"],
    ['https://s3/x?X-Amz-Signature=abcdef0123&y=1', 'https://s3/x?X-Amz-Signature=***&y=1'],
    ['the key is hunter2!', 'the key is ***'],
    ['encoded: p%40ss%2Fw%22ord, as JSON: p@ss/w\\"ord, plain: p@ss/w"ord', 'encoded: ***, as JSON: ***, plain: ***'],
    ['postgres://u:hunter2!@db.internal/app', '***'],
    ['abc but not abcdef', '*** but not abcdef'],
    ['public.Component 1,200 rows to ops@example.com', 'public.Component 1,200 rows to ops@example.com'],
  ])('turns %j into %j', (text, clean) => {
    expect(redact(text)).toBe(clean)
  })

  it('reaches every string of an event, keys included, and keeps the rest', () => {
    const data = {
      table: 'public.Part',
      rows: 3,
      'hunter2!': [{ url: 'postgres://a:b@c/d' }, null, true, 'hunter2!'],
      nested: { deep: { text: 'x hunter2! y' } },
      missing: undefined,
      rate: Number.NaN,
      big: 9007199254740993n,
    }
    expect(redactRecord(data, redact)).toEqual({
      table: 'public.Part',
      rows: 3,
      '***': [{ url: 'postgres://***@c/d' }, null, true, '***'],
      nested: { deep: { text: 'x *** y' } },
      rate: null,
      big: '9007199254740993',
    })
  })
})
